//! Where programs are: PATH, looked at once for each.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Programs that were found.
#[derive(Debug, Default)]
pub struct Resolved {
    found: Mutex<HashMap<CString, Arc<CStr>>>,
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn find(program: &CStr) -> Option<CString> {
    let name = OsStr::from_bytes(program.to_bytes());
    if program.to_bytes().contains(&b'/') {
        return is_executable(Path::new(name)).then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))?;
    CString::new(found.into_os_string().into_vec()).ok()
}

impl Resolved {
    /// The path of a program. What cannot be found or executed is said as an error of the attempt.
    pub fn path(&self, program: &CStr) -> Result<Arc<CStr>, String> {
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = known.get(program) {
            return Ok(Arc::clone(path));
        }
        let path: Arc<CStr> = find(program).ok_or_else(|| format!("{}: no such program", program.to_string_lossy()))?.into();
        known.insert(program.to_owned(), Arc::clone(&path));
        Ok(path)
    }
}
