"""Node classes are not hosted yet; a package that registers only pipelines may still import these names."""


class BaseNode:
    """Base of node classes."""

    node_type_id = ""


class NodeDefinition:
    """What a node says of itself."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class NodePort(NodeDefinition):
    """A port of a node."""


class NodeParam(NodeDefinition):
    """A parameter of a node."""
