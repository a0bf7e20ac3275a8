"""API Gateway: HTTP APIs (``http``) and REST APIs (``rest``) in front of functions, endpoints and other servers."""
