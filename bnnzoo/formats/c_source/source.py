"""`model.c` and `model.h`: constants, settings, the table of calls, and the entry points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.formats import Network
from bnnzoo.formats.c_source import memory, templates
from bnnzoo.formats.c_source.calls import Call, Lowering, cells
from bnnzoo.formats.c_source.lowering import lower
from bnnzoo.formats.c_source.text import (
    array,
    comment,
    identifier,
    initializer,
    shape,
    string,
)
from bnnzoo.graph.ir import Graph, Type

__all__ = ["Source", "pixel_scaling"]

Vector = NDArray[np.float32]

_CELL_BYTES = 4
_MAX_BYTES = 2**31 - 1  # what the code counts with

_HEADER = """\
/* {title}

   Written by bnnzoo. C99, nothing but string.h and math.h, no allocation. Not reentrant: all calls
   share one arena. */
#ifndef {macros}_MODEL_H
#define {macros}_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{definitions}

/* Computes the outputs, one after another, for {inputs} of real numbers{preprocessed}. */
void {prefix}_run({parameters}, float *output);
{more}
/* Returns how many outputs of the test in selftest.c are wrong. */
int {prefix}_self_test(void);

#ifdef __cplusplus
}}
#endif

#endif
"""

_PIXELS_DECLARED = """
/* The same for pixels 0 .. 255, row by row, channels last: preprocessing is part of it. */
void {prefix}_run_pixels(const uint8_t *pixels, float *output);
"""

_LABELS_DECLARED = """
/* Names of the classes, in UTF-8. */
extern const char *const {prefix}_labels[{count}];
"""

_SOURCE = """\
/* {title}

   Bits of 1 are -1. Images are rows of pixels, channels last. Signs take a bit per channel, levels
   one in each plane, and every pixel begins a word; real numbers take a cell. */
#include "model.h"

#include <math.h>
#include <string.h>

{parts}

{constants}

/* All values lie here, one over another where the first is read no more. */
static cell arena[{macros}_ARENA_BYTES / sizeof(cell)];

{settings}

{calls}

static void run(float *output)
{{
{body}
}}

void {prefix}_run({parameters}, float *output)
{{
{taken}
    run(output);
}}
{more}"""

_LOOP = """\
    size_t i;

    for (i = 0; i < sizeof calls / sizeof calls[0]; i++)
        calls[i].op(&calls[i]);
"""

_PIXELS = """
void {prefix}_run_pixels(const uint8_t *pixels, float *output)
{{
    static const float mean[{channels}] = {{
{mean}
    }};
    static const float deviation[{channels}] = {{
{deviation}
    }};
    int32_t i;

    for (i = 0; i < {macros}_INPUT_SIZE; i++) {{
        const float pixel = pixels[i];

        arena[{input} + i].real = (pixel - mean[i % {channels}]) / deviation[i % {channels}];
    }}
    run(output);
}}
"""


def pixel_scaling(network: Network) -> tuple[Vector, Vector] | None:
    """Returns mean and deviation per channel of an image, None where the input is not an image."""
    mean, std = network.pixel_mean, network.pixel_std
    if mean is None or std is None or [len(s) for s in network.graph.inputs.values()] != [3]:
        return None
    channels = network.graph.input_shape[-1]
    if len(mean) not in (1, channels) or len(std) not in (1, channels):
        return None
    a, b = (np.broadcast_to(np.asarray(v, np.float32), channels) for v in (mean, std))
    return a.copy(), b.copy()


@dataclass(frozen=True)
class Source:
    """The C of a network.

    Attributes:
        network: What is written.
        graph: What is computed, after the passes.
    """

    network: Network
    graph: Graph

    @cached_property
    def prefix(self) -> str:
        """Prefix of all public names."""
        info = self.network.info
        return identifier(info.name if info.tag is None else f"{info.name}_{info.tag}")

    @property
    def macros(self) -> str:
        """The same of macros."""
        return self.prefix.upper()

    @cached_property
    def lowered(self) -> tuple[list[Call], Lowering]:
        """The calls, with constants and views."""
        return lower(self.graph)

    @cached_property
    def plan(self) -> memory.Plan:
        """Where values lie."""
        calls, lowering = self.lowered
        sizes = {name: cells(type_) for name, type_ in lowering.types.items()}
        plan = memory.plan(
            calls, sizes, lowering.views, tuple(self.graph.inputs), self.graph.outputs
        )
        if plan.cells * _CELL_BYTES > _MAX_BYTES:
            raise ConversionError(
                f"{self.network.info.name} must need less than 2 GiB of memory as C, got "
                f"{plan.cells * _CELL_BYTES / 2**30:.1f}. Build it for smaller images."
            )
        return plan

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena."""
        return self.plan.cells * _CELL_BYTES

    @property
    def title(self) -> str:
        """Description of the network, for a comment."""
        info = self.network.info
        name = info.name if info.tag is None else f"{info.name}.{info.tag}"
        return comment(name if info.licence is None else f"{name}, weights under {info.licence}")

    @property
    def inputs(self) -> dict[str, str]:
        """Names of the parameters that take the inputs."""
        if len(self.graph.inputs) == 1:
            return {self.graph.input: "input"}
        return {name: f"input_{index}" for index, name in enumerate(self.graph.inputs)}

    @property
    def parameters(self) -> str:
        """The parameters that take the inputs."""
        return ", ".join(f"const float *{parameter}" for parameter in self.inputs.values())

    def input_size(self, name: str) -> str:
        """Returns the macro that says how many numbers an input has."""
        return f"{self.macros}_{self.inputs[name].upper()}_SIZE"

    @property
    def output_sizes(self) -> list[int]:
        """Numbers of each output."""
        return [math.prod(self.lowered[1].shape(name)) for name in self.graph.outputs]

    def header(self) -> str:
        """Returns `model.h`."""
        more, labels = "", self.network.info.labels
        if pixel_scaling(self.network) is not None:
            more += _PIXELS_DECLARED.format(prefix=self.prefix)
        if labels:
            more += _LABELS_DECLARED.format(prefix=self.prefix, count=len(labels))
        known = self.network.info.preprocessing
        return _HEADER.format(
            title=self.title,
            prefix=self.prefix,
            macros=self.macros,
            parameters=self.parameters,
            inputs="an input" if len(self.inputs) == 1 else "inputs",
            definitions="\n".join(self._definitions()),
            preprocessed="" if known is None else f", preprocessed by {comment(known)}",
            more=more,
        )

    def _definitions(self) -> Iterator[str]:
        macros, types = self.macros, self.lowered[1].types
        for name, taken in self.graph.inputs.items():
            about = shape(taken) if len(self.inputs) == 1 else f"{comment(name)}: {shape(taken)}"
            yield f"#define {self.input_size(name)} {math.prod(taken)} /* {about} */"
        yield f"#define {macros}_OUTPUT_SIZE {sum(self.output_sizes)}"
        begin = 0
        for index, (name, size) in enumerate(
            zip(self.graph.outputs, self.output_sizes, strict=True)
        ):
            about = f"{comment(name)}: {shape(types[name].shape)}"
            yield f"#define {macros}_OUTPUT_{index} {begin} /* where it begins; {about} */"
            begin += size
        yield f"#define {macros}_ARENA_BYTES {self.arena_bytes} /* of RAM */"

    def model(self) -> str:
        """Returns `model.c`."""
        calls, lowering = self.lowered
        settings, rows = self._table(calls)
        parts = {call.function for call in calls}.union(*(call.needs for call in calls))
        return _SOURCE.format(
            title=self.title,
            prefix=self.prefix,
            macros=self.macros,
            parts=templates.source(sorted(parts), self.macros),
            constants="\n\n".join(lowering.constants.definitions()),
            settings="\n".join(settings),
            calls="static const call calls[] = {\n" + "\n".join(rows) + "\n};" if rows else "",
            body=(_LOOP if rows else "") + "\n".join(self._results()),
            parameters=self.parameters,
            taken="\n".join(
                f"    memcpy(arena + {self.plan.values[name]}, {parameter}, "
                f"{self.input_size(name)} * sizeof(float));"
                for name, parameter in self.inputs.items()
            ),
            more="".join(self._more()),
        )

    def _table(self, calls: Sequence[Call]) -> tuple[list[str], list[str]]:
        """Returns the settings, equal ones once, and the rows of the table of calls."""
        names: dict[tuple[str, str], str] = {}
        settings, rows = [], []
        for index, call in enumerate(calls):
            value = initializer(call.settings)
            if (call.struct, value) not in names:
                names[call.struct, value] = f"{call.struct}_{len(names)}"
                head = f"static const {call.struct} {names[call.struct, value]}"
                settings.append(f"{head} = {{\n{value}\n}};")
            name = names[call.struct, value]
            rows.append(f"    /* {self._about(call)} */")
            rows.append(f"    {{{call.function}, &{name}, {self._places(index, call)}}},")
        return settings, rows

    def _places(self, index: int, call: Call) -> str:
        values = self.plan.values
        places = [f"arena + {values[call.writes] + call.begin_y}"]
        places += [f"arena + {values[name] + call.begin_x}" for name in call.reads]
        if call.scratch:
            places.append(f"arena + {self.plan.scratch[index]}")
        return ", ".join([*places, "NULL", "NULL"][:3])

    def _about(self, call: Call) -> str:
        """Returns the layers of a call, and what they make of what."""
        types = self.lowered[1].types
        layers = ", ".join(f"{node.name} ({node.op})" for node in call.nodes)
        made = " and ".join(_described(types[name]) for name in call.reads) or "nothing"
        return comment(f"{layers}: {made} -> {_described(types[call.writes])}")

    def _results(self) -> Iterator[str]:
        """Yields what copies the outputs to the caller."""
        begin = 0
        for name, size in zip(self.graph.outputs, self.output_sizes, strict=True):
            place = self.plan.values[name]
            yield f"    memcpy(output + {begin}, arena + {place}, {size} * sizeof(float));"
            begin += size

    def _more(self) -> Iterator[str]:
        """Yields the entry point for pixels and the class names, where they are known."""
        scaling = pixel_scaling(self.network)
        if scaling is not None:
            yield _PIXELS.format(
                prefix=self.prefix,
                macros=self.macros,
                channels=len(scaling[0]),
                input=self.plan.values[self.graph.input],
                mean=array(scaling[0]),
                deviation=array(scaling[1]),
            )
        if labels := self.network.info.labels:
            texts = "\n".join(f"    {string(label)}," for label in labels)
            yield f"\nconst char *const {self.prefix}_labels[{len(labels)}] = {{\n{texts}\n}};\n"


def _described(type_: Type) -> str:
    kinds = {"real": "real", "bits": "signs", "levels": f"levels of {type_.bits} bits"}
    return f"{shape(type_.shape)} {kinds[type_.kind]}"
