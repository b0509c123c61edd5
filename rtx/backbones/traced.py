"""A network that is not written as a backbone, cut at four of its modules: its forward pass is traced once (torch.fx).

What lies inside a named piece is not traced, so only the way from piece to piece has to be free of control flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import fx, nn

from rtx.backbones.freezing import N_STAGES, Part, piece_of
from rtx.errors import BadValue, some

Stages = Sequence[str | Sequence[str]]


@dataclass(frozen=True)
class Cut:
    """A network up to its fourth map.

    Attributes:
        graph: the steps from the image to the last map.
        parts: the named pieces in network order.
        taps: node of each map -> its place among the four.
        frees: node -> nodes whose values nobody needs behind it.
    """

    graph: fx.Graph
    parts: tuple[Part, ...]
    taps: dict[str, int]
    frees: dict[str, tuple[str, ...]]


class _Tracer(fx.Tracer):
    """Leaves the named pieces whole."""

    def __init__(self, pieces: set[str]) -> None:
        super().__init__()
        self.pieces = pieces

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.pieces or super().is_leaf_module(m, module_qualified_name)


def cut(net: nn.Module, stages: Stages, name: str) -> tuple[Cut, nn.Module]:
    """Trace a network and cut it behind its fourth stage.

    Args:
        net: e.g. a classifier.
        stages: see `rtx.register_backbone`.
        name: of the architecture, for messages.

    Returns:
        The steps, and the modules and parameters that they use, as one module with the network's own names.

    Raises:
        BadValue: `stages` are not five, name what is not there, are in another order than the forward pass, or leave
            out weights that it uses; or the pass cannot be traced.
    """
    parts = tuple(_parts(net, stages, name))
    names = {part.name: part for part in parts}
    if "forward" in vars(net):
        raise BadValue(
            f"backbone {name!r}: forward was replaced on the object, where it cannot be traced; write a class"
        )
    net.eval()  # what depends on `training` outside a piece (auxiliary heads) is that of a network in use
    try:
        graph = _Tracer({*names}).trace(net)
    except Exception as error:  # tracing runs the user's own forward
        raise BadValue(
            f"backbone {name!r}: its forward cannot be traced from piece to piece ({type(error).__name__}: {error}); "
            "name in stages= the modules that hold the control flow, so that they stay whole"
        ) from error
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target in names]
    order = list(dict.fromkeys(str(node.target) for node in calls))
    listed = [part.name for part in parts if isinstance(piece_of(net, part.name), nn.Module)]
    if missing := [one for one in listed if one not in order]:
        raise BadValue(f"backbone {name!r}: its forward never calls {some(missing, 8)}; leave them out of stages=")
    if order != listed:
        early, late = next((a, b) for a, b in zip(order, listed, strict=True) if a != b)
        raise BadValue(f"backbone {name!r}: its forward passes {early} before {late}; list stages= in that order")
    lasts = [max(i for i, one in enumerate(listed) if names[one].stage == stage) for stage in range(1, N_STAGES + 1)]
    tapped = [[node for node in calls if node.target == listed[last]][-1] for last in lasts]
    for node in reversed(graph.nodes):
        if node is tapped[-1]:
            break
        graph.erase_node(node)
    _check_complete(net, graph, names, name)
    graph.output(tapped[-1])
    frees = _frees(graph)
    return Cut(graph, parts, {node.name: i for i, node in enumerate(tapped)}, frees), fx.GraphModule(net, graph)


def _parts(net: nn.Module, stages: Stages, name: str) -> Iterator[Part]:
    """The pieces of the stages; see `rtx.register_backbone` for what is expanded and what counts as a block."""
    if isinstance(stages, str) or len(stages) != N_STAGES + 1:
        raise BadValue(f"backbone {name!r}: stages={stages!r} must be five: the stem and four stages")
    seen: set[str] = set()
    for stage, entry in enumerate(stages):
        pieces: list[tuple[str, nn.Module | nn.Parameter]] = []
        for one in (entry,) if isinstance(entry, str) else entry:
            try:
                pieces += _expanded(one, piece_of(net, one))
            except (AttributeError, AssertionError) as error:
                known = ", ".join(key for key, _ in net.named_children())
                raise BadValue(f"backbone {name!r}: {one!r} in stages= is none of its modules ({known})") from error
        if not any(isinstance(piece, nn.Module) for _, piece in pieces) and stage:
            raise BadValue(f"backbone {name!r}: stage {stage} of stages= names no module")
        if twice := [key for key, _ in pieces if key in seen]:
            raise BadValue(f"backbone {name!r}: {some(twice, 8)} twice in stages=")
        seen |= {key for key, _ in pieces}
        proper = {key for key, piece in pieces if _is_block(piece)}
        blocks = proper or {key for key, piece in pieces if _weighs(piece)}
        yield from (Part(key, stage, stage > 0 and key in blocks) for key, _ in pieces)


def _expanded(name: str, piece: nn.Module | nn.Parameter) -> list[tuple[str, nn.Module | nn.Parameter]]:
    """The piece, or the children of a `Sequential` of modules that have layers in them."""
    if isinstance(piece, nn.Sequential) and any(True for child in piece for _ in child.children()):
        return [found for key, child in piece.named_children() for found in _expanded(f"{name}.{key}", child)]
    return [(name, piece)]


def _is_block(piece: nn.Module | nn.Parameter) -> bool:
    if not isinstance(piece, nn.Module) or isinstance(piece, nn.Sequential):
        return False
    return any(True for _ in piece.children()) and any(True for _ in piece.parameters())


def _weighs(piece: nn.Module | nn.Parameter) -> bool:
    return isinstance(piece, nn.Module) and any(weight.ndim > 1 for weight in piece.parameters())


def _check_complete(net: nn.Module, graph: fx.Graph, names: dict[str, Part], name: str) -> None:
    """Refuse weights on the way that belong to no stage: no transfer mode could say whether they train."""
    outside = [
        str(node.target)
        for node in graph.nodes
        if node.op in ("call_module", "get_attr") and node.target not in names and _trains(net, str(node.target))
    ]
    if outside:
        raise BadValue(f"backbone {name!r}: {some(outside, 8)} has weights and is in no stage; put it into stages=")


def _trains(net: nn.Module, target: str) -> bool:
    owner, _, last = target.rpartition(".")
    piece = getattr(net.get_submodule(owner), last)
    return isinstance(piece, nn.Parameter) or (isinstance(piece, nn.Module) and any(True for _ in piece.parameters()))


def _frees(graph: fx.Graph) -> dict[str, tuple[str, ...]]:
    last: dict[str, str] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last[used.name] = node.name
    found: dict[str, list[str]] = {}
    for used_name, node_name in last.items():
        found.setdefault(node_name, []).append(used_name)
    return {node: tuple(names) for node, names in found.items()}
