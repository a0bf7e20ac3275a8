"""The first container of a pipeline: drops the first column."""


def model_fn(folder):
    return None


def transform_fn(model, body, content_type, accept):
    return ",".join(body.strip().split(",")[1:]), "text/csv"
