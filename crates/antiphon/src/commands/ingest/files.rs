//! Which files are meant by the paths of a command line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How deep folders are followed; deeper ones are a loop, or a mistake.
const DEPTH: usize = 64;

/// What was found below some paths.
#[derive(Debug, Default)]
pub struct Found {
    /// Files to send, with their sizes in bytes; inside a folder in the order of their names.
    pub files: Vec<(PathBuf, u64)>,
    /// Paths that cannot be sent, and why.
    pub unusable: Vec<(PathBuf, String)>,
    /// Files in folders that are no audio.
    pub skipped: Vec<PathBuf>,
}

/// Endings of names that say audio: who has such a file in a folder expects it to be taken.
const AUDIO_ENDINGS: [&str; 35] = [
    "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "au", "caf", "dff", "dsf", "dts", "flac", "m4a", "m4b",
    "mid", "midi", "mka", "mp2", "mp3", "mpc", "oga", "ogg", "opus", "ra", "shn", "snd", "spx", "tak", "tta", "voc",
    "wav", "wma", "wv",
];

/// Whether a file is audio by its name.
pub fn is_named_like_audio(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| AUDIO_ENDINGS.contains(&ending.as_str()))
}

/// Every file of `paths`: those that are named, and those in named folders that begin like audio.
pub fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => folder(path, DEPTH, &mut found),
            Ok(metadata) if metadata.is_file() => found.files.push((path.clone(), metadata.len())),
            Ok(_) => found.unusable.push((path.clone(), String::from("neither a file nor a folder"))),
            Err(error) => found.unusable.push((path.clone(), reason(&error))),
        }
    }
    found
}

fn folder(path: &Path, depth: usize, found: &mut Found) {
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) if depth > 0 => entries,
        Ok(_) => return found.unusable.push((path.to_owned(), format!("more than {DEPTH} folders deep"))),
        Err(error) => return found.unusable.push((path.to_owned(), reason(&error))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Linked files are followed, linked folders are not: they may lead in circles.
        match (entry.file_type(), fs::metadata(&path)) {
            (Ok(kind), _) if kind.is_dir() => folder(&path, depth - 1, found),
            (_, Ok(metadata)) if metadata.is_file() => match begins_like_audio(&path) {
                Ok(true) => found.files.push((path, metadata.len())),
                Ok(false) => found.skipped.push(path),
                Err(error) => found.unusable.push((path, reason(&error))),
            },
            _ => found.skipped.push(path),
        }
    }
}

fn begins_like_audio(path: &Path) -> io::Result<bool> {
    let mut head = Vec::with_capacity(antiphon_audio::SNIFF_BYTES);
    File::open(path)?.take(antiphon_audio::SNIFF_BYTES as u64).read_to_end(&mut head)?;
    Ok(antiphon_audio::sniff(&head).is_some())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => String::from("there is no such file or folder"),
        io::ErrorKind::PermissionDenied => String::from("it may not be read by this user"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_audio_and_named_files_are_always_meant() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/2.flac"), b"fLaC\0\0\0\x22").unwrap();
        fs::write(at("a/b/1.wav"), b"RIFF\x24\0\0\0WAVEfmt ").unwrap();
        fs::write(at("a/cover.jpg"), b"\xff\xd8\xff").unwrap();
        fs::write(at("a/empty"), b"").unwrap();
        fs::write(at("a/b/old.WMA"), b"\x30\x26\xb2\x75\x8e\x66\xcf\x11").unwrap();
        std::os::unix::fs::symlink(at("a"), at("a/b/loop")).unwrap();
        fs::write(at("notes.txt"), b"words").unwrap();
        let found = find(&[at("a"), at("notes.txt"), at("missing")]);
        let names: Vec<_> = found.files.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("a/2.flac"), Path::new("a/b/1.wav"), Path::new("notes.txt")]);
        assert_eq!(found.skipped.len(), 4);
        let named: Vec<_> = found.skipped.iter().filter(|path| is_named_like_audio(path)).collect();
        assert_eq!(named, [&at("a/b/old.WMA")]);
        assert_eq!(found.unusable, [(at("missing"), String::from("there is no such file or folder"))]);
    }
}
