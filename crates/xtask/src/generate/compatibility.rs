//! Whether schemas can still read what a release wrote, and a release what they write.
//!
//! Fields and values may be added. One that was released keeps its number, name and type for ever: old messages wait in
//! queues, and workers in other languages are not upgraded with us.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Compares with a release.
pub fn check(released: &FileDescriptorSet, schemas: &FileDescriptorSet) -> Result<()> {
    let broken = differences(released, schemas);
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "the schemas are not compatible with those of the last release (schemas/released.binpb):\n  {}\n\
         add fields with new names and numbers instead",
        broken.join("\n  ")
    )
}

fn differences(released: &FileDescriptorSet, schemas: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (Types::of(released), Types::of(schemas));
    let mut broken = Vec::new();
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            Some(now) => message_differences(name, message, now, &mut broken),
            None => broken.push(format!("the message {name} is gone")),
        }
    }
    for (name, values) in &old.enums {
        match new.enums.get(name) {
            Some(now) => enum_differences(name, values, now, &mut broken),
            None => broken.push(format!("the enum {name} is gone")),
        }
    }
    broken
}

fn message_differences(name: &str, old: &DescriptorProto, new: &DescriptorProto, broken: &mut Vec<String>) {
    for field in &old.field {
        match new.field.iter().find(|now| now.number == field.number) {
            None => broken.push(format!("{name}: field {} = {} is gone", field.name(), field.number())),
            Some(now) => {
                if shape(field, old) != shape(now, new) {
                    broken.push(format!(
                        "{name}: field {} was {}, and is {}",
                        field.number(),
                        words(field, old),
                        words(now, new)
                    ));
                }
            }
        }
    }
}

fn enum_differences(name: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto, broken: &mut Vec<String>) {
    for value in &old.value {
        let now = new.value.iter().find(|now| now.number == value.number);
        if now.map(|now| now.name()) != Some(value.name()) {
            broken.push(format!("{name}: value {} = {} is gone or renamed", value.name(), value.number()));
        }
    }
}

/// What of a field may never change: its name too, because JSON is written with names.
fn shape<'a>(
    field: &'a FieldDescriptorProto,
    message: &'a DescriptorProto,
) -> (&'a str, i32, &'a str, i32, Option<&'a str>) {
    let one_of = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    (field.name(), field.r#type() as i32, field.type_name(), field.label() as i32, one_of.map(|one_of| one_of.name()))
}

fn words(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let (name, _, type_name, _, one_of) = shape(field, message);
    let kind = if type_name.is_empty() { field.r#type().as_str_name() } else { type_name };
    let one_of = one_of.map(|one_of| format!(" of {one_of}")).unwrap_or_default();
    format!("{} {kind} {name}{one_of}", field.label().as_str_name())
}

/// Messages and enums by their full names, nested ones too.
#[derive(Default)]
struct Types<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Types<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut types = Self::default();
        for file in &set.file {
            types.add(file.package(), &file.message_type, &file.enum_type);
        }
        types
    }

    fn add(&mut self, scope: &str, messages: &'a [DescriptorProto], enums: &'a [EnumDescriptorProto]) {
        for found in enums {
            self.enums.insert(format!("{scope}.{}", found.name()), found);
        }
        for message in messages {
            let name = format!("{scope}.{}", message.name());
            self.add(&name, &message.nested_type, &message.enum_type);
            self.messages.insert(name, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED: &str = "
        syntax = \"proto3\";
        package a.v1;
        enum Kind { NONE = 0; ONE = 1; }
        message Inner { bytes data = 1; }
        message Outer {
            string name = 1;
            repeated Inner inner = 2;
            optional double level = 3;
            oneof value { double number = 4; string text = 5; }
        }";

    fn compiled(text: &str) -> FileDescriptorSet {
        let folder = std::env::temp_dir().join(format!("antiphon-schemas-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.proto"), text).unwrap();
        let set = protox::compile(["a.proto"], [&folder]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        set
    }

    fn after(old: &str, new: &str) -> Vec<String> {
        assert!(RELEASED.contains(old), "{old}");
        differences(&compiled(RELEASED), &compiled(&RELEASED.replace(old, new)))
    }

    #[test]
    fn additions_are_compatible() {
        let nothing: [String; 0] = [];
        assert_eq!(after("ONE = 1;", "ONE = 1; TWO = 2;"), nothing);
        assert_eq!(after("string name = 1;", "string name = 1; string title = 6;"), nothing);
        assert_eq!(after("message Inner", "message New { string a = 1; } message Inner"), nothing);
        assert_eq!(after("string text = 5;", "string text = 5; bool truth = 7;"), nothing);
    }

    #[test]
    fn whatever_else_changes_is_told() {
        let cases = [
            ("string name = 1;", "", "field name = 1 is gone"),
            ("string name = 1;", "reserved 1;", "field name = 1 is gone"),
            ("string name = 1;", "string title = 1;", "field 1 was"),
            ("string name = 1;", "bytes name = 1;", "field 1 was"),
            ("string name = 1;", "string name = 9;", "field name = 1 is gone"),
            ("string name = 1;", "repeated string name = 1;", "field 1 was"),
            ("repeated Inner inner = 2;", "repeated bytes inner = 2;", "field 2 was"),
            ("optional double level = 3;", "double level = 3;", "field 3 was"),
            (
                "oneof value { double number = 4; string text = 5; }",
                "double number = 4; string text = 5;",
                "field 4 was",
            ),
            ("ONE = 1;", "TWO = 1;", "value ONE = 1 is gone or renamed"),
            ("ONE = 1;", "", "value ONE = 1 is gone or renamed"),
            ("enum Kind", "enum Sort", "the enum a.v1.Kind is gone"),
            ("message Outer", "message Other", "the message a.v1.Outer is gone"),
        ];
        for (old, new, expected) in cases {
            let told = after(old, new);
            assert!(told.iter().any(|told| told.contains(expected)), "{new}: {told:?}");
        }
    }
}
