"""Writers of files that a weights reader must refuse: traps, damage, and things that are no checkpoint at all.

Each writer gets the path to write and the path of a trace file that must never come into being.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict

import torch

SHAPES = {"conv1.weight": (4, 3, 2, 2), "bn1.weight": (4,), "bn1.running_mean": (4,), "bn1.num_batches_tracked": ()}


def good_state():
    torch.manual_seed(0)
    state = OrderedDict((key, torch.randn(shape)) for key, shape in SHAPES.items())
    state["bn1.num_batches_tracked"] = torch.tensor(7)
    return state


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.parts = (function, args)

    def __reduce__(self):
        return self.parts


def raw_call(module, name, *args, protocol=2):
    """Pickle bytes that call module.name(*args)."""
    body = pickle.dumps(args, protocol=0)[:-1]
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n" + body + b"R."


def zip_around(path, data_pkl, storages=(), extra=()):
    """A torch-style zip around hand-made pickle bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/version", "3\n")
        for key, data in storages:
            archive.writestr(f"archive/data/{key}", data)
        for name, data in extra:
            archive.writestr(name, data)


def tensor_pickle(count, size, stride, offset=0, key="0", kind="FloatStorage"):
    """Pickle bytes of {"conv1.weight": tensor} over a storage that claims `count` values."""

    class Pickler(pickle._Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, str) and obj == "STORAGE":
                return ("storage", getattr(torch, kind), key, "cpu", count)
            return None

    class Rebuild:
        def __reduce__(self):
            return (torch._utils._rebuild_tensor_v2, ("STORAGE", offset, size, stride, False, OrderedDict()))

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"conv1.weight": Rebuild()})
    return buffer.getvalue()


WRITERS = {}


def hostile(writer):
    WRITERS[writer.__name__] = writer
    return writer


# -- pickles that would run something ---------------------------------------------------------------------------------

PAYLOADS = {
    "os_system": lambda t: Call(os.system, f"touch {t}"),
    "subprocess_popen": lambda t: Call(subprocess.Popen, ["touch", str(t)]),
    "eval": lambda t: Call(eval, f"open({str(t)!r}, 'w').close()"),
    "exec": lambda t: Call(exec, f"open({str(t)!r}, 'w').close()"),
    "open_for_writing": lambda t: Call(open, str(t), "w"),
    "remove_tree": lambda t: Call(shutil.rmtree, str(t.parent / "weights")),
    "nested_torch_load": lambda t: Call(torch.load, str(t)),
    "mkdir": lambda t: Call(os.mkdir, str(t)),
}


def _payload_writer(name, payload, container):
    def write(path, trace):
        evil = payload(trace)
        if container == "zip":
            torch.save(evil, path)
        elif container == "zip_beside_weights":
            torch.save({"state_dict": good_state(), "optimizer": evil}, path)
        elif container == "legacy":
            torch.save({"state_dict": good_state(), "lr": evil}, path, _use_new_zipfile_serialization=False)
        elif container == "pickle":
            path.write_bytes(pickle.dumps({"state_dict": evil}, protocol=4))
        elif container == "pickle_0":
            path.write_bytes(b"\x80\x02" + pickle.dumps(evil, protocol=0))

    WRITERS[f"{name}_in_{container}"] = write


for _name, _payload in PAYLOADS.items():
    for _container in ("zip", "zip_beside_weights", "legacy"):
        _payload_writer(_name, _payload, _container)
for _name in ("os_system", "exec"):
    for _container in ("pickle", "pickle_0"):
        _payload_writer(_name, PAYLOADS[_name], _container)


@hostile
def evil_as_dictionary_key(path, trace):
    torch.save({Call(os.system, f"touch {trace}"): torch.zeros(1)}, path)


@hostile
def evil_as_tensor_subclass_state(path, trace):
    zip_around(
        path,
        raw_call("torch._utils", "_rebuild_tensor_v2")[:-1]
        + raw_call("posix", "system", f"touch {trace}")[:-1]
        + b"b.",
    )


@hostile
def evil_through_getattr(path, trace):
    inner = raw_call("builtins", "getattr", "x", "join")[:-1]
    zip_around(path, inner + pickle.dumps((f"touch {trace}",), protocol=0)[:-1] + b"R.")


@hostile
def evil_module_that_does_not_exist(path, trace):
    zip_around(path, raw_call("no_such_module.at_all", "run", str(trace)))


@hostile
def evil_inst_opcode(path, trace):
    zip_around(path, b"(" + pickle.dumps(f"touch {trace}", protocol=0)[:-1] + b"iposix\nsystem\n.")


@hostile
def evil_obj_opcode(path, trace):
    zip_around(path, b"(cposix\nsystem\n" + pickle.dumps(f"touch {trace}", protocol=0)[:-1] + b"o.")


@hostile
def evil_stack_global(path, trace):
    zip_around(
        path, b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + pickle.dumps((f"touch {trace}",), protocol=2)[2:-1] + b"R."
    )


@hostile
def evil_extension_code(path, trace):
    zip_around(path, b"\x80\x02\x82\x01)R.")


@hostile
def evil_stored_module_source(path, trace):
    """The legacy format can carry source code of a module class."""

    class Net(torch.nn.Module):
        def __reduce__(self):
            return (os.system, (f"touch {trace}",))

    buffer = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(item, buffer, 2)
    pickle.dump(Call(os.system, f"touch {trace}"), buffer, 2)
    pickle.dump([], buffer, 2)
    path.write_bytes(buffer.getvalue())


@hostile
def whole_model_instead_of_weights(path, trace):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path)


@hostile
def torchscript_program(path, trace):
    zip_around(path, b"\x80\x02}.", extra=[("archive/constants.pkl", b""), ("archive/code/net.py", b"import os")])


@hostile
def pickle_nested_in_a_pickle(path, trace):
    """Bytes that a second unpickler would run."""
    inner = pickle.dumps(Call(os.system, f"touch {trace}"))
    torch.save({"state_dict": good_state(), "args": Call(pickle.loads, inner)}, path)


@hostile
def module_object_of_dill(path, trace):
    """dill stores functions as code; here one stands where the weights should be."""
    zip_around(path, raw_call("dill._dill", "_create_function", f"open({str(trace)!r}, 'w')"))


@hostile
def loader_nested_in_a_pickle(path, trace):
    inner = raw_call("torch.jit._serialization", "load", str(trace))
    zip_around(path, inner)


# -- absurd structure -------------------------------------------------------------------------------------------------


@hostile
def lists_nested_ten_thousand_deep(path, trace):
    zip_around(path, b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b".")


DOUBLED = b"(K\x01q\x00" + b"h\x00h\x00\x86q\x00" * 40 + b"t"


@hostile
def key_that_doubles_forty_times(path, trace):
    """A small file whose dictionary key takes 2 ** 40 steps to hash."""
    zip_around(path, b"\x80\x02}" + DOUBLED + b"K\x02s.")


@hostile
def key_that_doubles_in_an_old_file(path, trace):
    buffer = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(item, buffer, 2)
    path.write_bytes(buffer.getvalue() + b"\x80\x02}" + DOUBLED + b"K\x02s.")


@hostile
def set_of_a_key_that_doubles(path, trace):
    zip_around(path, b"\x80\x04\x8f(" + DOUBLED + b"\x90.")


@hostile
def value_that_doubles_forty_times(path, trace):
    zip_around(path, b"\x80\x02}K\x01K\x01q\x00" + b"h\x00h\x00\x86q\x00" * 40 + b"s.")


@hostile
def memo_index_of_four_billion(path, trace):
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")


@hostile
def byte_string_that_claims_an_exabyte(path, trace):
    zip_around(path, b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.")


@hostile
def integer_of_many_digits(path, trace):
    zip_around(path, b"I" + b"9" * 200_000 + b"\n.")


@hostile
def dictionary_that_holds_itself(path, trace):
    zip_around(path, b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.")


@hostile
def pickle_without_an_end(path, trace):
    zip_around(path, b"\x80\x02}q\x00")


@hostile
def unknown_opcode(path, trace):
    zip_around(path, b"\x80\x02\xfe.")


@hostile
def call_of_a_number(path, trace):
    zip_around(path, b"\x80\x02K\x05)R.")


@hostile
def strange_persistent_id(path, trace):
    zip_around(path, b"\x80\x02X\x05\x00\x00\x00helloQ.")


@hostile
def shape_of_a_petabyte(path, trace):
    zip_around(path, tensor_pickle(4, (2**25, 2**25), (2**25, 1)), [("0", b"\0" * 16)])


@hostile
def shape_repeated_by_stride_zero(path, trace):
    zip_around(path, tensor_pickle(4, (10**9, 10**3), (0, 0)), [("0", b"\0" * 16)])


@hostile
def negative_shape(path, trace):
    zip_around(path, tensor_pickle(4, (-2, 2), (2, 1)), [("0", b"\0" * 16)])


@hostile
def offset_beyond_the_storage(path, trace):
    zip_around(path, tensor_pickle(4, (2, 2), (2, 1), offset=2**40), [("0", b"\0" * 16)])


@hostile
def storage_that_claims_more_than_it_has(path, trace):
    zip_around(path, tensor_pickle(2**40, (2, 2), (2, 1)), [("0", b"\0" * 16)])


@hostile
def storage_that_is_missing(path, trace):
    zip_around(path, tensor_pickle(4, (2, 2), (2, 1), key="9"), [("0", b"\0" * 16)])


@hostile
def storage_with_a_path_as_key(path, trace):
    zip_around(path, tensor_pickle(4, (2, 2), (2, 1), key="../../../../etc/passwd"), [("0", b"\0" * 16)])


@hostile
def legacy_storage_of_a_terabyte(path, trace):
    buffer = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(item, buffer, 2)
    buffer.write(tensor_pickle(2**38, (2, 2), (2, 1)))
    pickle.dump(["0"], buffer, 2)
    path.write_bytes(buffer.getvalue() + struct.pack("<q", 2**38))


@hostile
def sparse_weights(path, trace):
    torch.save({**good_state(), "conv1.weight": torch.zeros(4, 3, 2, 2).to_sparse()}, path)


@hostile
def big_endian_file(path, trace):
    zip_around(path, tensor_pickle(4, (2, 2), (2, 1)), [("0", b"\0" * 16)], extra=[("archive/byteorder", b"big")])


# -- small files that make much of themselves: one value, copied by thousands of calls --------------------------------


def bomb(name, value, function, arguments=b"\x85", times=10_000):
    """`value` and `function` (pickle bytes) are made once and called `times` times."""
    data = b"\x80\x02(" + value + b"q\x01" + function + b"q\x02" + (b"h\x02h\x01" + arguments + b"R") * times + b"t."
    WRITERS[name] = lambda path, trace: zip_around(path, data)


_text = b"X" + struct.pack("<I", 100_000) + b"x" * 100_000
_pairs = b"(" + b"".join(b"J" + struct.pack("<i", i) + b"K\x01\x86" for i in range(20_000)) + b"t"
bomb("bomb_of_encode_calls", _text, b"c_codecs\nencode\n")
bomb("bomb_of_list_calls", b"(" + b"K\x01" * 100_000 + b"t", b"c__builtin__\nlist\n")
bomb("bomb_of_size_calls", b"(" + b"K\x01" * 100_000 + b"t", b"ctorch\nSize\n")
bomb("bomb_of_dictionaries", _pairs, b"ccollections\nOrderedDict\n", times=1_000)
bomb("bomb_of_arrays", _text, b"cnumpy.core.numeric\n_frombuffer\n",
     b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85RJ\xa0\x86\x01\x00\x85\x87", 2_000)  # fmt: skip
bomb("bytearray_of_a_gigabyte", b"J\x00\x00\x00\x40", b"cbuiltins\nbytearray\n", times=1)
bomb("tensor_of_four_gigabytes", b"J\x00\x00\x00\x40", b"ctorch\nFloatTensor\n", times=1)


@hostile
def byte_array_that_claims_a_gigabyte(path, trace):
    path.write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 2**30) + b"abc.")


@hostile
def safetensors_that_overlap(path, trace):
    size = 400_000
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({f"w{i}": entry for i in range(1000)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * size)


# -- archives ---------------------------------------------------------------------------------------------------------


@hostile
def zip_bomb(path, trace):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", b"\0" * 20_000_000)


@hostile
def zip_with_overlapping_entries(path, trace):
    """The directory lists one megabyte a thousand times."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", b"\0" * 1_000_000)
        entry = archive.getinfo("archive/data/0")
        archive.filelist += [entry] * 1000


@hostile
def zip_bomb_in_the_pickle(path, trace):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 50_000_000)


@hostile
def zip_bomb_that_lies_about_its_size(path, trace):
    """The directory states 100 bytes; the stream behind it goes on for 50 million."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 50_000_000)
        archive.writestr("archive/version", "3\n")
        entry = archive.getinfo("archive/data.pkl")
        entry.file_size = 100


@hostile
def renamed_zip(path, trace):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<doc/>")


@hostile
def zip_that_wants_to_leave_its_folder(path, trace):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"../../../..{trace}", "x")
        archive.writestr("../data.pkl", pickle.dumps(Call(os.system, f"touch {trace}"), 2))


@hostile
def checkpoint_inside_a_zip(path, trace):
    buffer = io.BytesIO()
    torch.save(good_state(), buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/inner/model.pth", buffer.getvalue())


@hostile
def truncated_zip(path, trace):
    torch.save(good_state(), path)
    path.write_bytes(path.read_bytes()[:-400])


@hostile
def zip_with_a_flipped_byte(path, trace):
    torch.save(good_state(), path)
    data = bytearray(path.read_bytes())
    where = data.index(b"data.pkl") + 80
    data[where : where + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))


@hostile
def truncated_legacy(path, trace):
    torch.save(good_state(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-60])


@hostile
def tar_archive(path, trace):
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("model.pth")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))


@hostile
def gzipped_checkpoint(path, trace):
    buffer = io.BytesIO()
    torch.save(good_state(), buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()))


# -- other things -----------------------------------------------------------------------------------------------------


def _plain_writer(name, data):
    WRITERS[name] = lambda path, trace: path.write_bytes(data)


_plain_writer("empty_file", b"")
_plain_writer("html_page", b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>")
_plain_writer("html_page_with_bom", b"\xef\xbb\xbf\r\n  <HTML><body>404</body></HTML>")
_plain_writer("xml_error", b'<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code></Error>')
_plain_writer("json_error", b'{"error": "not found"}')
_plain_writer("plain_text", b"Not Found\n")
_plain_writer("lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
_plain_writer("picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
_plain_writer("shell_script", b"#!/bin/sh\ntouch trace\n")
_plain_writer("program", b"\x7fELF" + b"\0" * 60)
_plain_writer("keras_file", b"\x89HDF\r\n\x1a\n" + b"\0" * 60)
_plain_writer("random_bytes", bytes((i * 37 + 11) % 256 for i in range(999)))
_plain_writer("legacy_magic_only", pickle.dumps(0x1950A86A20F9469CFC6C, 2))
_plain_writer("safetensors_header_beyond_the_file", struct.pack("<Q", 10**6) + b"{}" + b" " * 20)
_plain_writer("safetensors_bad_json", struct.pack("<Q", 8) + b"{nope}  ")
_plain_writer("safetensors_list", struct.pack("<Q", 8) + b"{ [1] } ")


def _safetensors_writer(name, **entry):
    full = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    header = json.dumps({"conv1.weight": full}).encode()
    _plain_writer(f"safetensors_{name}", struct.pack("<Q", len(header)) + header + b"\0" * 8)


_safetensors_writer("reaches_beyond_the_file", shape=[4], data_offsets=[0, 16])
_safetensors_writer("shape_and_bytes_disagree", shape=[10**12])
_safetensors_writer("negative_offset", data_offsets=[-8, 0])
_safetensors_writer("unknown_type", dtype="F7")
_safetensors_writer("offsets_missing", data_offsets=None)


# -- weights that do not fit ------------------------------------------------------------------------------------------


def _state_writer(name, change):
    def write(path, trace):
        state = good_state()
        change(state)
        torch.save({"state_dict": state}, path)

    WRITERS[name] = write


_state_writer("nan_weights", lambda s: s["conv1.weight"].view(-1)[3].fill_(float("nan")))
_state_writer("infinite_statistics", lambda s: s["bn1.running_mean"].fill_(float("inf")))
_state_writer("one_key_missing", lambda s: s.pop("bn1.weight"))
_state_writer("one_key_too_many", lambda s: s.update({"layer9.weight": torch.zeros(1)}))
_state_writer("another_shape", lambda s: s.update({"conv1.weight": torch.zeros(4, 3, 3, 3)}))
_state_writer("same_size_other_shape", lambda s: s.update({"conv1.weight": torch.zeros(3, 4, 2, 2)}))
_state_writer("a_number_instead_of_a_tensor", lambda s: s.update({"bn1.weight": 3.0}))
_state_writer("no_tensor_at_all", lambda s: s.clear())


@hostile
def wrong_architecture(path, trace):
    """Sound weights of another network."""
    names = ("features.0.weight", "features.1.weight", "features.1.bias", "features.41.running_mean")
    torch.save({"state_dict": {name: torch.randn(4) for name in names}}, path)


@hostile
def wrong_architecture_wrapped(path, trace):
    names = ("patch_embed.proj.weight", "layers.0.blocks.0.norm1.weight")
    torch.save({"model": {f"module.model.{name}": torch.randn(4) for name in names}}, path)


@hostile
def only_a_tensor(path, trace):
    torch.save(torch.zeros(3), path)


@hostile
def a_list_of_tensors(path, trace):
    torch.save([torch.zeros(3)], path)


@hostile
def copies_that_disagree(path, trace):
    state = good_state()
    model = {f"module.model.{key}": value for key, value in state.items()}
    model |= {f"module.attacker.model.{key}": value.clone() for key, value in state.items()}
    model["module.attacker.model.bn1.weight"] += 1e-6
    torch.save({"model": model}, path)


def _normaliser_writer(name, mean, std, other_mean=None):
    def write(path, trace):
        model = {f"module.model.{key}": value for key, value in good_state().items()}
        model["module.normalizer.new_mean"] = torch.tensor(mean).view(3, 1, 1)
        model["module.normalizer.new_std"] = torch.tensor(std).view(3, 1, 1)
        if other_mean:
            model["module.attacker.normalize.new_mean"] = torch.tensor(other_mean).view(3, 1, 1)
            model["module.attacker.normalize.new_std"] = torch.tensor(std).view(3, 1, 1)
        torch.save({"model": model}, path)

    WRITERS[name] = write


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_normaliser_writer("bgr_normaliser", IMAGENET[0][::-1], IMAGENET[1][::-1])
_normaliser_writer("two_normalisers", *IMAGENET, other_mean=(0.5, 0.5, 0.5))
