"""The messages of schemas/antiphon/v1, without generated code.

descriptors.binpb beside this file is the compiled schema, written by `cargo xtask generate`. `protoc --python_out` gives
the same classes as a module; so it does for any other language.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
_compiled = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("descriptors.binpb").read_bytes())
for _file in _compiled.file:
    _pool.Add(_file)


def _message(name: str):
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"antiphon.v1.{name}"))


Descriptor = _message("Descriptor")
Recording = _message("Recording")
Result = _message("Result")

MOMENTS = _pool.FindEnumTypeByName("antiphon.v1.Aggregate").values_by_name["MOMENTS"].number
SENSOR = _pool.FindEnumTypeByName("antiphon.v1.SourceKind").values_by_name["SENSOR"].number
