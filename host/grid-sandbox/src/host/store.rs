//! `wit/store.wit`: objects outside of the grid. Who may do what, the stores themselves know.

use std::sync::Arc;

use grid_proto::outside::{
    Answer, ObjectEntry, ObjectListing, ObjectWriter, OpenObject, StoreAccess, StoreError,
    StoreErrorKind,
};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::config::STORE_WORKS_MAX;
use crate::state::CallState;
use crate::wasi::with_runtime;

type Store<'a> = StoreContextMut<'a, CallState>;
type Interface<'a> = LinkerInstance<'a, CallState>;

/// What the guest's resources are here.
struct Object(Arc<dyn OpenObject>);
struct Listing(Box<dyn ObjectListing>);
struct Writer(Box<dyn ObjectWriter>);

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut store = linker.instance("grid:task/store@0.1.0")?;
    link_objects(&mut store)?;
    link_listings(&mut store)?;
    link_writers(&mut store)?;
    store.func_wrap("put", |store: Store<'_>, (url, bytes, if_absent): (String, Vec<u8>, bool)| {
        Ok((ask(store.data(), &url, |stores| stores.put(url.clone(), bytes, if_absent))?,))
    })
}

fn link_objects(store: &mut Interface<'_>) -> wasmtime::Result<()> {
    store.resource("object", ResourceType::host::<Object>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<Object>::new_own(handle))?;
        Ok(())
    })?;
    store.func_wrap("open", |store: Store<'_>, (url,): (String,)| {
        let found = ask(store.data(), &url, |stores| stores.open(url.clone()))?;
        Ok((kept(store, found, Object)?,))
    })?;
    store.func_wrap("[method]object.describe", |store, (object,): (Resource<Object>,)| {
        let Object(object) = store.data().table.get(&object)?;
        Ok((Entry::from(object.entry().clone()),))
    })?;
    store.func_wrap(
        "[method]object.read",
        |store, (object, offset, length): (Resource<Object>, u64, u32)| {
            let state = store.data();
            let Object(object) = state.table.get(&object)?;
            Ok((wait(state, object.read(offset, length))?,))
        },
    )
}

fn link_listings(store: &mut Interface<'_>) -> wasmtime::Result<()> {
    store.resource("listing", ResourceType::host::<Listing>(), |mut store, handle| {
        let state = store.data_mut();
        state.table.delete(Resource::<Listing>::new_own(handle))?;
        state.store_works = state.store_works.saturating_sub(1);
        Ok(())
    })?;
    store.func_wrap("list", |mut store: Store<'_>, (url,): (String,)| {
        let begun = begin(&mut store, &url, |stores| stores.list(url.clone()))?;
        Ok((kept(store, begun, Listing)?,))
    })?;
    store.func_wrap(
        "[method]listing.next",
        |mut store: Store<'_>, (listing,): (Resource<Listing>,)| {
            let page = with_work(&mut store, &listing, |Listing(listing)| listing.next())?;
            let entries = |page: Vec<ObjectEntry>| page.into_iter().map(Entry::from).collect();
            Ok((page.map(entries).map(|page: Vec<Entry>| page),))
        },
    )
}

fn link_writers(store: &mut Interface<'_>) -> wasmtime::Result<()> {
    store.resource("writer", ResourceType::host::<Writer>(), |mut store, handle| {
        let state = store.data_mut();
        state.table.delete(Resource::<Writer>::new_own(handle))?;
        state.store_works = state.store_works.saturating_sub(1);
        Ok(())
    })?;
    store.func_wrap("create", |mut store: Store<'_>, (url, if_absent): (String, bool)| {
        let begun = begin(&mut store, &url, |stores| stores.create(url.clone(), if_absent))?;
        Ok((kept(store, begun, Writer)?,))
    })?;
    store.func_wrap(
        "[method]writer.write",
        |mut store: Store<'_>, (writer, bytes): (Resource<Writer>, Vec<u8>)| {
            Ok((with_work(&mut store, &writer, |Writer(writer)| writer.write(bytes))?,))
        },
    )?;
    store.func_wrap(
        "[method]writer.finish",
        |mut store: Store<'_>, (writer,): (Resource<Writer>,)| {
            Ok((with_work(&mut store, &writer, |Writer(writer)| writer.finish())?,))
        },
    )
}

/// Waits for a store on this thread, no longer than the call may run. The outer error stops the call.
fn wait<T>(state: &CallState, answer: Answer<'_, T>) -> wasmtime::Result<Result<T, Error>> {
    let answered = with_runtime(|runtime| runtime.block_on(Box::pin(state.stop.bound(answer))))?;
    Ok(answered.map_err(Error::from))
}

/// Asks the stores, if there are any.
fn ask<T>(
    state: &CallState,
    url: &str,
    ask: impl FnOnce(&dyn StoreAccess) -> Answer<'_, T>,
) -> wasmtime::Result<Result<T, Error>> {
    match &state.stores {
        Some(stores) => wait(state, ask(stores.as_ref())),
        None => {
            let message =
                "there are no stores here: bundles are described, measured and tested without";
            Ok(Err(StoreError::new(StoreErrorKind::Unavailable, url, message).into()))
        }
    }
}

/// Begins something that holds the host's memory until it is dropped.
fn begin<T>(
    store: &mut Store<'_>,
    url: &str,
    begin: impl FnOnce(&dyn StoreAccess) -> Answer<'_, T>,
) -> wasmtime::Result<Result<T, Error>> {
    if store.data().store_works >= STORE_WORKS_MAX {
        let message = format!("a call has {STORE_WORKS_MAX} listings and writers at a time");
        return Ok(Err(StoreError::new(StoreErrorKind::OverLimit, url, message).into()));
    }
    let begun = ask(store.data(), url, begin)?;
    if begun.is_ok() {
        store.data_mut().store_works += 1;
    }
    Ok(begun)
}

/// Gives the guest a handle.
fn kept<T, R: Send + 'static>(
    mut store: Store<'_>,
    found: Result<T, Error>,
    resource: fn(T) -> R,
) -> wasmtime::Result<Result<Resource<R>, Error>> {
    match found {
        Ok(found) => Ok(Ok(store.data_mut().table.push(resource(found))?)),
        Err(error) => Ok(Err(error)),
    }
}

/// Goes on with what the guest has a handle on.
fn with_work<R: Send + 'static, T>(
    store: &mut Store<'_>,
    handle: &Resource<R>,
    work: impl FnOnce(&mut R) -> Answer<'_, T>,
) -> wasmtime::Result<Result<T, Error>> {
    let state = store.data_mut();
    let answer = work(state.table.get_mut(handle)?);
    let answered = with_runtime(|runtime| runtime.block_on(Box::pin(state.stop.bound(answer))))?;
    Ok(answered.map_err(Error::from))
}

/// `store.error-kind`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum ErrorKind {
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "denied")]
    Denied,
    #[component(name = "credentials")]
    Credentials,
    #[component(name = "changed")]
    Changed,
    #[component(name = "exists")]
    Exists,
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "over-limit")]
    OverLimit,
    #[component(name = "other")]
    Other,
}

/// `store.error`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Error {
    kind: ErrorKind,
    url: String,
    offset: Option<u64>,
    message: String,
}

/// `store.entry`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Entry {
    url: String,
    size: u64,
    #[component(name = "modified-ms")]
    modified_ms: u64,
}

impl From<ObjectEntry> for Entry {
    fn from(ObjectEntry { url, size, modified_ms }: ObjectEntry) -> Self {
        Self { url, size, modified_ms }
    }
}

impl From<StoreError> for Error {
    fn from(StoreError { kind, url, offset, message }: StoreError) -> Self {
        let kind = match kind {
            StoreErrorKind::NotFound => ErrorKind::NotFound,
            StoreErrorKind::Denied => ErrorKind::Denied,
            StoreErrorKind::Credentials => ErrorKind::Credentials,
            StoreErrorKind::Changed => ErrorKind::Changed,
            StoreErrorKind::Exists => ErrorKind::Exists,
            StoreErrorKind::Unavailable => ErrorKind::Unavailable,
            StoreErrorKind::OverLimit => ErrorKind::OverLimit,
            StoreErrorKind::Other => ErrorKind::Other,
        };
        Self { kind, url, offset, message }
    }
}
