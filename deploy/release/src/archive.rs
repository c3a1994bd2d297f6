//! Tar archives and gzip whose bytes depend on their content and one time alone. It reads no files.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A file: its permissions and its bytes.
    File(u32, Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
}

/// Members by path, without a slash in front.
pub type Members = BTreeMap<String, Member>;

/// A ustar archive: folders before what lies in them, sorted, owned by root, with this time.
///
/// # Errors
/// When a path is too long for the format.
pub fn tar(members: &Members, time: u64) -> io::Result<Vec<u8>> {
    let mut folders = std::collections::BTreeSet::new();
    for path in members.keys() {
        let parents = Path::new(path).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        folders.extend(parents.map(|parent| format!("{}/", parent.display())));
    }
    let mut all: BTreeMap<String, Option<&Member>> = folders.into_iter().map(|path| (path, None)).collect();
    all.extend(members.iter().map(|(path, member)| (path.clone(), Some(member))));
    let mut builder = Builder::new(Vec::new());
    for (path, member) in &all {
        let mut header = Header::new_ustar();
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match member {
            None => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                builder.append_data(&mut header, path, io::empty())?;
            }
            Some(Member::Link(to)) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path, to)?;
            }
            Some(Member::File(mode, bytes)) => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, path, bytes.as_slice())?;
            }
        }
    }
    builder.into_inner()
}

/// Gzip without a name, a time or an operating system.
///
/// # Errors
/// Never, as memory is written to.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    encoder.write_all(bytes)?;
    encoder.finish()
}
