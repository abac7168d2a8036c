//! The objects that a pickle of weights can build.

use crate::checkpoint::FileDType;

/// One object. Containers lie in the [`Heap`], so that objects which hold each other in a circle are freed, and a deep
/// nesting is freed without recursion.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Float,
    Text(&'a str),
    /// A run of [`Heap::items`].
    Tuple {
        start: u32,
        len: u32,
    },
    /// An index into [`Heap::lists`].
    List(u32),
    /// An index into [`Heap::dicts`].
    Dict(u32),
    Global(Global),
    /// An index into [`Heap::storages`].
    Storage(u32),
    /// An index into [`Heap::tensors`].
    Tensor(u32),
}

impl Value<'_> {
    /// The kind of object, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) => "an int",
            Self::Float => "a float",
            Self::Text(_) => "a str",
            Self::Tuple { .. } => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// The classes and functions that are known, each by what is done in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensorV2,
    /// As version 2 with a raw storage and the element type at the end, for types without a storage class.
    RebuildTensorV3,
    RebuildParameter,
    TypedStorage(FileDType),
    UntypedStorage,
    DType(FileDType),
}

impl Global {
    /// The one of a name, or nothing: anything else is refused.
    pub(super) fn of(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Self::RebuildTensorV3),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch.storage" | "torch", "UntypedStorage") => Some(Self::UntypedStorage),
            ("torch", name) => FileDType::from_torch_storage(name)
                .map(Self::TypedStorage)
                .or_else(|| FileDType::from_torch(name).map(Self::DType)),
            _ => None,
        }
    }
}

/// A run of elements in an entry of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// The entry `data/<key>`.
    pub(super) key: &'a str,
    /// The elements' type; bytes where the tensor says the type itself.
    pub(super) dtype: Option<FileDType>,
    pub(super) elements: u64,
}

/// A tensor as the pickle describes it; nothing is checked against the storage yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) dtype: FileDType,
    /// In elements.
    pub(super) offset: i64,
    /// Tuples of integers.
    pub(super) shape: Value<'a>,
    pub(super) strides: Value<'a>,
}

/// Everything that the pickle has built.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) items: Vec<Value<'a>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor<'a>>,
}

impl<'a> Heap<'a> {
    /// The items of a tuple, or nothing for another object.
    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple { start, len } => self.items.get(start as usize..)?.get(..len as usize),
            _ => None,
        }
    }

    /// The items of a tuple or list, or nothing for another object.
    pub(super) fn sequence(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::List(index) => self.lists.get(index as usize).map(Vec::as_slice),
            _ => self.tuple(value),
        }
    }
}
