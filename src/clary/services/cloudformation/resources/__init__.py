"""How each resource type is made, changed and removed: through the platform's own API, with the stack's identity.

A module a service, or two that belong together; each has a table ``KINDS``. Properties come in the types of AWS's
schemas. Physical names, ``Ref`` and ``Fn::GetAtt`` are those of AWS's "Resource and property reference".
"""
