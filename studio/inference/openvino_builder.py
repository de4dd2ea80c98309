"""What the writers of OpenVINO graphs of transformers share."""

from typing import Any

import numpy as np

from studio.inference.openvino_import import import_openvino

Node = Any
"""`openvino.Node`: an operation of a graph, or one of its outputs."""

Model = Any
"""`openvino.Model`: a whole graph."""


class GraphWriter:
    """Collects the inputs and the state of a graph while its parts are written.

    `width` of its states, which `heads` share.
    """

    def __init__(self, heads: int, width: int) -> None:
        opset15 = import_openvino().opset15
        self.ops: Any = opset15
        self.width = width
        self.inputs: list[Node] = []
        self.sinks: list[Node] = []
        self.head_count = heads
        self.head_size = width // heads

    def input(self, name: str, sizes: list[int], kind: str) -> Node:
        openvino = import_openvino()
        parameter = self.ops.parameter(openvino.PartialShape(sizes), getattr(openvino.Type, kind))
        parameter.set_friendly_name(name)
        parameter.output(0).set_names({name})
        self.inputs.append(parameter)
        return parameter

    def integers(self, values: Node) -> Node:
        return self.ops.constant(np.array(values, np.int64))

    def heads(self, x: Node) -> Node:
        """(rows, length, width) -> (rows, heads, length, size of a head)."""
        sizes = self.integers([0, 0, self.head_count, self.head_size])
        return self.ops.transpose(self.ops.reshape(x, sizes, True), self.integers([0, 2, 1, 3]))

    def joined(self, x: Node) -> Node:
        """The reverse of `heads`."""
        turned = self.ops.transpose(x, self.integers([0, 2, 1, 3]))
        return self.ops.reshape(turned, self.integers([0, 0, self.width]), True)

    def remembered(self, x: Node, parents: Node, name: str) -> Node:
        """The values behind all earlier ones, (rows, heads, length so far, size of a head).

        `parents`: which row of the earlier ones each row goes on from.
        """
        openvino = import_openvino()

        ops = self.ops
        info = openvino.op.util.VariableInfo()
        info.data_shape = openvino.PartialShape([-1, self.head_count, -1, self.head_size])
        info.data_type = openvino.Type.f32
        info.variable_id = name
        variable = openvino.op.util.Variable(info)
        nothing_yet = self.integers([self.head_count, 0, self.head_size])
        sizes = ops.concat([ops.shape_of(parents), nothing_yet], 0)
        nothing = ops.broadcast(ops.constant(np.float32(0.0)), sizes)
        past = ops.gather(ops.read_value(nothing, variable), parents, self.integers(0))
        together = ops.concat([past, x], 2)
        self.sinks.append(ops.assign(together, variable))
        return together
