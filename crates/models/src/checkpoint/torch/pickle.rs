//! An interpreter for the pickles that `torch.save` writes: it builds tensors' descriptions in dictionaries, lists and
//! tuples, and has no means to do anything else. The opcodes and their arguments are those of Python's `pickletools`,
//! protocols 2 to 5, as far as `torch.save` uses them.

use super::value::{Global, Heap, Storage, Tensor, Value};
use crate::checkpoint::error::shown;
use crate::checkpoint::{CheckpointProblem, MAX_TENSORS};
use std::collections::HashMap;

/// Instructions: about forty make a tensor. Everything the interpreter keeps is bounded by their number.
const MAX_OPS: usize = 2_000_000;
/// Objects on the stack: the pickler writes containers in runs of a thousand.
const MAX_STACK: usize = 1 << 17;
/// Containers that are open at one time.
const MAX_MARKS: usize = 256;

/// Runs a pickle and returns the object that it builds.
pub(super) fn run<'a>(pickle: &'a [u8], heap: &mut Heap<'a>) -> Result<Value<'a>, CheckpointProblem> {
    let mut machine =
        Machine { pickle, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), heap };
    for _ in 0..MAX_OPS {
        if let Some(root) = machine.step()? {
            return Ok(root);
        }
    }
    Err(CheckpointProblem::too_large(MAX_OPS, "pickle instructions"))
}

struct Machine<'a, 'h> {
    pickle: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: &'h mut Heap<'a>,
}

impl<'a> Machine<'a, '_> {
    /// Carries out one instruction; the last one yields the object.
    fn step(&mut self) -> Result<Option<Value<'a>>, CheckpointProblem> {
        let op = self.u8()?;
        match op {
            b'.' => return self.pop().map(Some),
            // PROTO and FRAME only announce.
            0x80 => {
                let version = self.u8()?;
                if !(2..=5).contains(&version) {
                    return Err(self.bad(format!("protocol {version} is none that torch writes")));
                }
            }
            0x95 => _ = self.array::<8>()?,

            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool)?,
            b'J' => {
                let value = self.array().map(i32::from_le_bytes)?;
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let value = self.u8()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = self.array().map(u16::from_le_bytes)?;
                self.push(Value::Int(value.into()))?;
            }
            0x8a => self.long1()?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Float)?;
            }
            // Strings with lengths of one, four and eight bytes; the first two also as Python 2 wrote them.
            0x8c | b'U' => {
                let len = self.u8()?;
                self.text(len.into())?;
            }
            b'X' | b'T' => {
                let len = self.u32()?;
                self.text(len.into())?;
            }
            0x8d => {
                let len = self.array().map(u64::from_le_bytes)?;
                self.text(len)?;
            }

            b'(' => {
                if self.marks.len() == MAX_MARKS {
                    return Err(CheckpointProblem::too_large(MAX_MARKS, "open containers in its pickle"));
                }
                self.marks.push(self.stack.len());
            }
            b')' => self.tuple_from(self.stack.len())?,
            0x85 => self.small_tuple(1)?,
            0x86 => self.small_tuple(2)?,
            0x87 => self.small_tuple(3)?,
            b't' => {
                let start = self.pop_mark()?;
                self.tuple_from(start)?;
            }
            b']' => {
                self.heap.lists.push(Vec::new());
                self.push(Value::List(index(self.heap.lists.len())))?;
            }
            b'}' => self.new_dict(Vec::new())?,
            b'a' => {
                self.need(1)?;
                self.append_from(self.stack.len() - 1)?;
            }
            b'e' => {
                let start = self.pop_mark()?;
                self.append_from(start)?;
            }
            b's' => {
                self.need(2)?;
                self.set_items_from(self.stack.len() - 2)?;
            }
            b'u' => {
                let start = self.pop_mark()?;
                self.set_items_from(start)?;
            }

            b'q' => {
                let key = self.u8()?;
                self.memoize(key.into())?;
            }
            b'r' => {
                let key = self.u32()?;
                self.memoize(key)?;
            }
            // The instructions, and with them the memo, are fewer than 2^32.
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let key = self.u8()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = self.u32()?;
                self.recall(key)?;
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return Err(self.bad("a global's name is no text")),
            },
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return Err(self.bad(format!("instruction {op:#04x} is none that weights need"))),
        }
        Ok(None)
    }

    // What the bytes hold.

    fn take(&mut self, len: u64) -> Result<&'a [u8], CheckpointProblem> {
        let rest = &self.pickle[self.at..];
        let Some(bytes) = usize::try_from(len).ok().and_then(|len| rest.get(..len)) else {
            return Err(self.bad("it ends in the middle of an instruction"));
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointProblem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, CheckpointProblem> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, CheckpointProblem> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self, len: u64) -> Result<(), CheckpointProblem> {
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("a text is not UTF-8"))?;
        self.push(Value::Text(text))
    }

    /// A name that ends with the line.
    fn line(&mut self) -> Result<&'a str, CheckpointProblem> {
        let rest = &self.pickle[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| self.bad("a name has no end"))?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| self.bad("a name is not UTF-8"))
    }

    /// An integer of up to eight bytes, two's complement.
    fn long1(&mut self) -> Result<(), CheckpointProblem> {
        let len = self.u8()?;
        let bytes = self.take(len.into())?;
        let Some((&last, _)) = bytes.split_last() else { return self.push(Value::Int(0)) };
        let mut wide = [if last & 0x80 == 0 { 0 } else { 0xff }; 8];
        match wide.get_mut(..bytes.len()) {
            Some(low) => low.copy_from_slice(bytes),
            // Random states and the like; no extent or offset is that large, and using it as one is an error.
            None => return self.push(Value::Float),
        }
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    // The stack.

    fn push(&mut self, value: Value<'a>) -> Result<(), CheckpointProblem> {
        if self.stack.len() == MAX_STACK {
            return Err(CheckpointProblem::too_large(MAX_STACK, "open objects in its pickle"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// Fails unless that many objects lie above the last mark.
    fn need(&self, count: usize) -> Result<(), CheckpointProblem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() < floor + count {
            Err(self.bad("it takes more objects than there are"))
        } else {
            Ok(())
        }
    }

    fn pop(&mut self) -> Result<Value<'a>, CheckpointProblem> {
        self.need(1)?;
        self.stack.pop().ok_or_else(|| self.bad("its stack is empty"))
    }

    fn top(&self) -> Result<Value<'a>, CheckpointProblem> {
        self.need(1)?;
        self.stack.last().copied().ok_or_else(|| self.bad("its stack is empty"))
    }

    fn pop_mark(&mut self) -> Result<usize, CheckpointProblem> {
        self.marks.pop().ok_or_else(|| self.bad("a container is closed that was never opened"))
    }

    fn memoize(&mut self, key: u32) -> Result<(), CheckpointProblem> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), CheckpointProblem> {
        let value = self
            .memo
            .get(&key)
            .copied()
            .ok_or_else(|| self.bad("it recalls an object that it never kept"))?;
        self.push(value)
    }

    // Containers.

    fn small_tuple(&mut self, len: usize) -> Result<(), CheckpointProblem> {
        self.need(len)?;
        self.tuple_from(self.stack.len() - len)
    }

    fn tuple_from(&mut self, start: usize) -> Result<(), CheckpointProblem> {
        let items = self.stack.drain(start..);
        let tuple = Value::Tuple { start: self.heap.items.len() as u32, len: items.len() as u32 };
        self.heap.items.extend(items);
        self.push(tuple)
    }

    fn new_dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) -> Result<(), CheckpointProblem> {
        self.heap.dicts.push(items);
        self.push(Value::Dict(index(self.heap.dicts.len())))
    }

    fn append_from(&mut self, start: usize) -> Result<(), CheckpointProblem> {
        let list = start.checked_sub(1).and_then(|at| self.stack.get(at)).copied();
        let Some(Value::List(list)) = list else { return Err(self.bad("it appends to what is no list")) };
        self.heap.lists[list as usize].extend(self.stack.drain(start..));
        Ok(())
    }

    fn set_items_from(&mut self, start: usize) -> Result<(), CheckpointProblem> {
        let dict = start.checked_sub(1).and_then(|at| self.stack.get(at)).copied();
        let Some(Value::Dict(dict)) = dict else {
            return Err(self.bad("it sets an item of what is no dict"));
        };
        let (pairs, []) = self.stack[start..].as_chunks::<2>() else {
            return Err(self.bad("a dict has a key without a value"));
        };
        self.heap.dicts[dict as usize].extend(pairs.iter().map(|&[key, value]| (key, value)));
        self.stack.truncate(start);
        Ok(())
    }

    // Classes and functions.

    fn global(&mut self, module: &str, name: &str) -> Result<(), CheckpointProblem> {
        match Global::of(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(CheckpointProblem::ForbiddenGlobal { global: shown(&format!("{module}.{name}")) }),
        }
    }

    /// A storage: `("storage", class, key, device, element count)`.
    fn persistent(&mut self) -> Result<(), CheckpointProblem> {
        let id = self.pop()?;
        let storage = match self.heap.tuple(id) {
            Some(
                &[Value::Text("storage"), Value::Global(class), Value::Text(key), _, Value::Int(elements)],
            ) => {
                let dtype = match class {
                    Global::TypedStorage(dtype) => Some(Some(dtype)),
                    Global::UntypedStorage => Some(None),
                    _ => None,
                };
                dtype.zip(elements.try_into().ok()).map(|(dtype, elements)| Storage { key, dtype, elements })
            }
            _ => None,
        };
        let storage =
            storage.ok_or_else(|| self.bad("a reference leads to something else than a storage"))?;
        self.heap.storages.push(storage);
        self.push(Value::Storage(index(self.heap.storages.len())))
    }

    /// Calls one of the known functions.
    fn reduce(&mut self) -> Result<(), CheckpointProblem> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Value::Global(callee), Some(arguments)) = (callee, self.heap.tuple(arguments)) else {
            return Err(self.bad(format!("it calls {}", callee.kind())));
        };
        match (callee, arguments) {
            (Global::OrderedDict, []) => self.new_dict(Vec::new()),
            (Global::OrderedDict, &[pairs]) => {
                let pair = |pair: &Value<'a>| match self.heap.sequence(*pair) {
                    Some(&[key, value]) => Some((key, value)),
                    _ => None,
                };
                let pairs = self.heap.sequence(pairs).and_then(|pairs| pairs.iter().map(pair).collect());
                match pairs {
                    Some(pairs) => self.new_dict(pairs),
                    None => Err(self.bad("an OrderedDict is made of something else than pairs")),
                }
            }
            (
                Global::RebuildTensorV2,
                &[Value::Storage(storage), Value::Int(offset), shape, strides, _, _, ref rest @ ..],
            ) => self.new_tensor(storage, None, offset, (shape, strides), rest.first().copied()),
            (
                Global::RebuildTensorV3,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    shape,
                    strides,
                    _,
                    _,
                    Value::Global(Global::DType(dtype)),
                    ref rest @ ..,
                ],
            ) => self.new_tensor(storage, Some(dtype), offset, (shape, strides), rest.first().copied()),
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => self.push(tensor),
            _ => Err(self.bad(format!("{callee:?} has arguments that torch never gives it"))),
        }
    }

    fn new_tensor(
        &mut self,
        storage: u32,
        dtype: Option<crate::checkpoint::FileDType>,
        offset: i64,
        (shape, strides): (Value<'a>, Value<'a>),
        flags: Option<Value<'a>>,
    ) -> Result<(), CheckpointProblem> {
        let storage = self.heap.storages[storage as usize];
        let Some(dtype) = dtype.or(storage.dtype) else {
            return Err(self.bad("a tensor has no element type"));
        };
        // Torch marks here that a tensor is to be negated or conjugated when read.
        if let Some(Value::Dict(flags)) = flags
            && !self.heap.dicts[flags as usize].is_empty()
        {
            return Err(self.bad("a tensor is stored with a pending negation or conjugation"));
        }
        if self.heap.tensors.len() == MAX_TENSORS {
            return Err(CheckpointProblem::too_large(MAX_TENSORS, "tensors"));
        }
        self.heap.tensors.push(Tensor { storage, dtype, offset, shape, strides });
        self.push(Value::Tensor(index(self.heap.tensors.len())))
    }

    /// Attributes of an object. A `state_dict` has its version numbers there, which don't matter.
    fn build(&mut self) -> Result<(), CheckpointProblem> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(self.bad(format!("it sets attributes of {}", other.kind()))),
        }
    }

    fn bad(&self, detail: impl std::fmt::Display) -> CheckpointProblem {
        CheckpointProblem::malformed("pickle", format!("{detail} (byte {})", self.at))
    }
}

/// The index of the last of `len` objects. There are fewer than 2^32, since each takes an instruction.
fn index(len: usize) -> u32 {
    len.saturating_sub(1) as u32
}
