"""From a row to numbers: one-hot and scaling, the same for training and for predictions.

Plain Python, so that the Lambda function needs nothing but this file and the scaling that training found.
"""


def scaling(schema, rows):
    """Mean and deviation of each number."""
    found = {}
    for name, kind in schema["columns"].items():
        if kind == "number":
            values = [float(row[name]) for row in rows]
            mean = sum(values) / len(values)
            deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
            found[name] = [mean, deviation or 1.0]
    return found


def encode(schema, scales, row):
    """The numbers of a row; ValueError that names the column at fault."""
    found = []
    for name, kind in schema["columns"].items():
        if name not in row:
            raise ValueError(f"the column {name} is missing")
        if kind == "number":
            mean, deviation = scales[name]
            found.append((float(row[name]) - mean) / deviation)
        elif row[name] in kind:
            found += [float(row[name] == category) for category in kind]
        else:
            raise ValueError(f"{name} is {row[name]!r}; it is one of {', '.join(kind)}")
    return found


def csv(rows):
    """Numbers as the endpoint takes them."""
    return "\n".join(",".join(f"{value:g}" for value in row) for row in rows)
