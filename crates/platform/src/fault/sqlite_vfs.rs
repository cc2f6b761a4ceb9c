//! SQLite's files, recorded: a VFS that hands everything to the default one and writes it to a [`Trace`].
//!
//! After <https://www.sqlite.org/vfs.html> and SQLite's own `test_vfstrace.c`: an open file of ours is a `File` with the
//! default VFS's file behind it in the same memory.

#![expect(unsafe_code, reason = "the only way into SQLite's files is its C interface")]

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::{Event, FileId, Trace, folder_of};

/// Registers a VFS that records to `trace`; its name, for `vfs=`. It stays for the life of the process.
///
/// # Errors
/// When SQLite has no default VFS or refuses ours, in words.
pub fn register(trace: Arc<Trace>) -> Result<&'static str, String> {
    let name: &'static CStr = Box::leak(
        CString::new(format!("recorded-{:p}", Arc::as_ptr(&trace))).map_err(|e| e.to_string())?.into_boxed_c_str(),
    );
    // SAFETY: SQLite is initialised by the call; a null name asks for the default VFS, which is never unregistered.
    let inner = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: it is null or points to a VFS that lives as long as the process.
    let Some(default) = (unsafe { inner.as_ref() }) else {
        return Err(String::from("SQLite has no default VFS"));
    };
    let shared: &'static Shared = Box::leak(Box::new(Shared { trace, inner }));
    let vfs = ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<File>()).map_err(|e| e.to_string())? + default.szOsFile,
        mxPathname: default.mxPathname,
        pNext: ptr::null_mut(),
        zName: name.as_ptr(),
        pAppData: ptr::from_ref(shared).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: the VFS and all that it points to are leaked, hence valid for ever.
    let outcome = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
    if outcome != ffi::SQLITE_OK {
        return Err(format!("SQLite refuses the VFS: {outcome}"));
    }
    name.to_str().map_err(|error| error.to_string())
}

/// What `PRAGMA integrity_check` says of a database: `ok`, or what is wrong.
///
/// # Errors
/// When it cannot be opened or asked, in words.
pub fn integrity(path: &Path) -> Result<String, String> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let mut database = ptr::null_mut();
    let mut statement = ptr::null_mut();
    // SAFETY: all pointers are valid for each call; the handles are used only between open and close, and
    // finalize and close take null pointers.
    unsafe {
        let mut outcome =
            ffi::sqlite3_open_v2(path.as_ptr(), &raw mut database, ffi::SQLITE_OPEN_READWRITE, ptr::null());
        if outcome == ffi::SQLITE_OK {
            let text = c"PRAGMA integrity_check";
            outcome = ffi::sqlite3_prepare_v2(database, text.as_ptr(), -1, &raw mut statement, ptr::null_mut());
        }
        if outcome == ffi::SQLITE_OK {
            outcome = ffi::sqlite3_step(statement);
        }
        let answer = if outcome == ffi::SQLITE_ROW {
            let text = ffi::sqlite3_column_text(statement, 0);
            if text.is_null() {
                Err(String::from("no text"))
            } else {
                Ok(CStr::from_ptr(text.cast()).to_string_lossy().into_owned())
            }
        } else {
            Err(format!("{outcome}: {}", CStr::from_ptr(ffi::sqlite3_errmsg(database)).to_string_lossy()))
        };
        ffi::sqlite3_finalize(statement);
        ffi::sqlite3_close(database);
        answer
    }
}

struct Shared {
    trace: Arc<Trace>,
    inner: *mut ffi::sqlite3_vfs,
}

/// An open file. The default VFS's file lies right behind it.
#[repr(C, align(8))]
struct File {
    base: ffi::sqlite3_file,
    shared: *const Shared,
    /// Its number in the trace; 0 for a file that is not recorded.
    file: u64,
    /// The default VFS syncs the folder with the first sync of a new log or journal.
    sync_folder: *mut PathBuf,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

// SAFETY of all functions below: SQLite calls them with the VFS or with an open file of ours, whose fields `register`
// and `open` have set, and with buffers as long as it says.

unsafe fn shared(vfs: *mut ffi::sqlite3_vfs) -> &'static Shared {
    unsafe { &*(*vfs).pAppData.cast::<Shared>() }
}

/// The default VFS's file behind ours.
unsafe fn behind(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    unsafe { file.cast::<File>().add(1).cast() }
}

/// Calls a method of the default VFS's file.
macro_rules! forward {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        unsafe {
            let inner = behind($file);
            match (*inner).pMethods.as_ref().and_then(|methods| methods.$method) {
                Some(method) => method(inner $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// Calls a function of the default VFS.
macro_rules! forward_vfs {
    ($vfs:expr, $method:ident $(, $argument:expr)*) => {{
        unsafe {
            let inner = shared($vfs).inner;
            match (*inner).$method {
                Some(method) => method(inner $(, $argument)*),
                None => ffi::SQLITE_ERROR,
            }
        }
    }};
}

unsafe fn path_of(name: *const c_char) -> Option<PathBuf> {
    (!name.is_null()).then(|| PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let shared = unsafe { shared(vfs) };
    let ours = file.cast::<File>();
    unsafe { (*ours).base.pMethods = ptr::null() };
    let path = unsafe { path_of(name) };
    let inside = path.as_ref().and_then(|path| shared.trace.inside(path));
    let mut record = shared.trace.record();
    let existed = path.as_ref().is_some_and(|path| path.exists());
    let inner = unsafe {
        (*shared.inner).xOpen.map_or(ffi::SQLITE_ERROR, |open| open(shared.inner, name, behind(file), flags, out))
    };
    if inner != ffi::SQLITE_OK {
        return inner;
    }
    let mut number = 0;
    let mut sync_folder = ptr::null_mut();
    if let Some(inside) = inside {
        let journal = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
        if flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & journal != 0 {
            sync_folder = Box::into_raw(Box::new(folder_of(&inside)));
        }
        let known = if existed { record.names.get(&inside).copied() } else { None };
        let id = known.unwrap_or_else(|| {
            let (id, event) = record.create(inside);
            record.events.push(event);
            id
        });
        number = id.0;
    }
    unsafe {
        ptr::addr_of_mut!((*ours).shared).write(shared);
        ptr::addr_of_mut!((*ours).file).write(number);
        ptr::addr_of_mut!((*ours).sync_folder).write(sync_folder);
        (*ours).base.pMethods = &raw const METHODS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let shared = unsafe { shared(vfs) };
    let inside = unsafe { path_of(name) }.and_then(|path| shared.trace.inside(&path));
    let mut record = shared.trace.record();
    // The folder is not really synced: the trace alone counts.
    let outcome = forward_vfs!(vfs, xDelete, name, 0);
    if let Some(path) = inside.filter(|_| outcome == ffi::SQLITE_OK) {
        record.names.remove(&path);
        let folder = folder_of(&path);
        record.events.push(Event::Remove { path });
        drop(record);
        if sync_folder != 0 {
            shared.trace.sync_folder(folder);
        }
    }
    outcome
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    forward_vfs!(vfs, xAccess, name, flags, out)
}

unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    forward_vfs!(vfs, xFullPathname, name, size, out)
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    forward_vfs!(vfs, xRandomness, size, out)
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    forward_vfs!(vfs, xSleep, microseconds)
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    forward_vfs!(vfs, xCurrentTime, out)
}

unsafe extern "C" fn last_error(vfs: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    forward_vfs!(vfs, xGetLastError, size, out)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let ours = file.cast::<File>();
    let folder = unsafe { std::mem::replace(&mut (*ours).sync_folder, ptr::null_mut()) };
    if !folder.is_null() {
        // SAFETY: `open` made it by `Box::into_raw`, and it is taken only once.
        drop(unsafe { Box::from_raw(folder) });
    }
    forward!(file, xClose)
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, buffer: *mut c_void, size: c_int, offset: i64) -> c_int {
    forward!(file, xRead, buffer, size, offset)
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, buffer: *const c_void, size: c_int, offset: i64) -> c_int {
    let ours = unsafe { &*file.cast::<File>() };
    let mut record = unsafe { &*ours.shared }.trace.record();
    let outcome = forward!(file, xWrite, buffer, size, offset);
    if outcome == ffi::SQLITE_OK && ours.file != 0 {
        let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), size as usize) }.to_vec();
        record.events.push(Event::Write { file: FileId(ours.file), offset: offset as u64, bytes });
    }
    outcome
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let ours = unsafe { &*file.cast::<File>() };
    let mut record = unsafe { &*ours.shared }.trace.record();
    let outcome = forward!(file, xTruncate, size);
    if outcome == ffi::SQLITE_OK && ours.file != 0 {
        record.events.push(Event::Truncate { file: FileId(ours.file), length: size as u64 });
    }
    outcome
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let ours = unsafe { &mut *file.cast::<File>() };
    if ours.file == 0 {
        return forward!(file, xSync, flags);
    }
    let trace = &unsafe { &*ours.shared }.trace;
    trace.sync(FileId(ours.file));
    let folder = std::mem::replace(&mut ours.sync_folder, ptr::null_mut());
    if !folder.is_null() {
        // SAFETY: `open` made it by `Box::into_raw`, and it is taken only once.
        trace.sync_folder(*unsafe { Box::from_raw(folder) });
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    forward!(file, xFileSize, out)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    forward!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    forward!(file, xFileControl, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    forward!(file, xShmMap, page, size, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    forward!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    unsafe {
        let inner = behind(file);
        if let Some(barrier) = (*inner).pMethods.as_ref().and_then(|methods| methods.xShmBarrier) {
            barrier(inner);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, remove: c_int) -> c_int {
    forward!(file, xShmUnmap, remove)
}
