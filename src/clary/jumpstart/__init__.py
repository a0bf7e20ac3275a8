"""The public JumpStart bucket: models that are trained by packaged scripts, as the SDKs find them there.

Manifest and specifications are written here, and so are the scripts; nothing of AWS's is copied.
"""
