//! `wit/objects.wit`: an argument that is read in place, a result that is written piece by piece. Where
//! they are, the worker knows.

use std::sync::{Arc, Weak};

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::access::{ObjectAccess, ObjectError};
use crate::config::{OBJECT_READ_BYTES_MAX, OBJECT_WRITE_BYTES_MAX};
use crate::contract::Codec;
use crate::state::CallState;
use crate::stop::InputLost;

type Store<'a> = StoreContextMut<'a, CallState>;
type Interface<'a> = LinkerInstance<'a, CallState>;

/// What the guest's resources are here. They end with their call: an instance that stays for another one
/// reads nothing through them any more.
struct Reader {
    objects: Weak<dyn ObjectAccess>,
    position: u32,
    codec: grid_proto::Codec,
    size: u64,
}

struct Writer(Weak<dyn ObjectAccess>);

/// `objects.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "refused")]
    Refused(String),
    #[component(name = "over-limit")]
    OverLimit(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut objects = linker.instance("grid:task/objects@0.1.0")?;
    link_readers(&mut objects)?;
    link_writers(&mut objects)
}

fn link_readers(objects: &mut Interface<'_>) -> wasmtime::Result<()> {
    objects.resource("reader", ResourceType::host::<Reader>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<Reader>::new_own(handle))?;
        Ok(())
    })?;
    objects.func_wrap("argument", |mut store: Store<'_>, (position,): (u32,)| {
        let Some(objects) = &store.data().objects else { return Ok((Err(nothing_here()),)) };
        let Some((codec, size)) = objects.argument(position) else {
            let message =
                format!("argument {position} is none that is read: its parameter is not lazy");
            return Ok((Err(Error::Refused(message)),));
        };
        let reader = Reader { objects: Arc::downgrade(objects), position, codec, size };
        Ok((Ok(store.data_mut().table.push(reader)?),))
    })?;
    objects.func_wrap("[method]reader.codec", |store, (reader,): (Resource<Reader>,)| {
        Ok((Codec::from(store.data().table.get(&reader)?.codec),))
    })?;
    objects.func_wrap("[method]reader.size", |store, (reader,): (Resource<Reader>,)| {
        Ok((store.data().table.get(&reader)?.size,))
    })?;
    objects.func_wrap(
        "[method]reader.read",
        |store, (reader, offset, length): (Resource<Reader>, u64, u32)| {
            let state: &CallState = store.data();
            let Reader { objects, position, size, .. } = state.table.get(&reader)?;
            state.stop.check()?;
            let rest = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; rest.min(length as usize).min(OBJECT_READ_BYTES_MAX)];
            let Some(objects) = objects.upgrade() else {
                wasmtime::bail!("the call whose argument was to be read has ended");
            };
            match objects.read(*position, offset, &mut bytes) {
                Ok(count) => bytes.truncate(count),
                Err(_) => return Err(InputLost.into()),
            }
            Ok((bytes,))
        },
    )
}

fn link_writers(objects: &mut Interface<'_>) -> wasmtime::Result<()> {
    objects.resource("writer", ResourceType::host::<Writer>(), |mut store, handle| {
        let Writer(objects) = store.data_mut().table.delete(Resource::<Writer>::new_own(handle))?;
        if let Some(objects) = objects.upgrade() {
            objects.abandon();
        }
        Ok(())
    })?;
    objects.func_wrap("begin", |mut store: Store<'_>, (codec,): (Codec,)| {
        let Some(objects) = &store.data().objects else { return Ok((Err(nothing_here()),)) };
        match objects.begin(codec.into()) {
            Ok(()) => {
                let writer = Writer(Arc::downgrade(objects));
                Ok((Ok(store.data_mut().table.push(writer)?),))
            }
            Err(error) => Ok((Err(told(error)?),)),
        }
    })?;
    objects.func_wrap(
        "[method]writer.write",
        |store, (writer, bytes): (Resource<Writer>, Vec<u8>)| {
            if bytes.len() > OBJECT_WRITE_BYTES_MAX {
                let message = format!("a piece has at most {OBJECT_WRITE_BYTES_MAX} bytes");
                return Ok((Err(Error::OverLimit(message)),));
            }
            Ok((written(&store, &writer, |objects| objects.write(&bytes))?,))
        },
    )?;
    objects.func_wrap("[method]writer.finish", |store, (writer,): (Resource<Writer>,)| {
        Ok((written(&store, &writer, |objects| objects.finish())?,))
    })
}

fn written(
    store: &Store<'_>,
    writer: &Resource<Writer>,
    write: impl FnOnce(&dyn ObjectAccess) -> Result<(), ObjectError>,
) -> wasmtime::Result<Result<(), Error>> {
    let state = store.data();
    state.stop.check()?;
    match state.table.get(writer)?.0.upgrade() {
        Some(objects) => {
            write(objects.as_ref()).map_or_else(|error| Ok(Err(told(error)?)), |()| Ok(Ok(())))
        }
        None => {
            let message = "the call that began this result has ended".to_owned();
            Ok(Err(Error::Refused(message)))
        }
    }
}

/// What the guest is told; the outer error stops the call.
fn told(error: ObjectError) -> wasmtime::Result<Error> {
    match error {
        ObjectError::Refused(message) => Ok(Error::Refused(message)),
        ObjectError::OverLimit(message) => Ok(Error::OverLimit(message)),
        ObjectError::Unavailable(message) => Ok(Error::Unavailable(message)),
        ObjectError::Lost => Err(InputLost.into()),
    }
}

fn nothing_here() -> Error {
    let message = "there are no objects here: bundles are described and measured without";
    Error::Unavailable(message.to_owned())
}
