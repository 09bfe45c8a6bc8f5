//! The interpreter of pickles: those opcodes that `torch.save` emits, and objects that hold data.
//!
//! What each opcode means is written in CPython's `pickletools.py`. An opcode makes at most a few
//! objects of fixed size, so memory is bounded by the length of the pickle; nothing refers to objects
//! but by number, so sharing costs nothing and cycles are harmless until somebody follows them.

use std::collections::HashMap;
use std::sync::Arc;

use kiln_tensor_core::DType;

use super::DTYPES;

/// An object's number.
pub(super) type Id = usize;

/// An object.
#[derive(Clone, Debug)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    DType(DType),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    /// Bytes of tensors in the archive, by name, so many elements of this dtype.
    Storage {
        key: Arc<str>,
        dtype: DType,
        numel: usize,
    },
    /// A view of a storage.
    Tensor {
        storage: Id,
        offset: usize,
        sizes: Vec<usize>,
        strides: Vec<usize>,
    },
}

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Device,
    Storage(DType),
}

const CLASSES: [(&str, &str, Class); 6] = [
    ("collections", "OrderedDict", Class::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Class::RebuildTensor),
    ("torch._utils", "_rebuild_tensor", Class::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Class::RebuildParameter),
    ("torch", "Size", Class::Size),
    ("torch", "device", Class::Device),
];

/// All objects, and which of them is the result.
pub(super) struct Objects {
    pub(super) all: Vec<Object>,
    pub(super) root: Id,
}

type Ran<T> = Result<T, String>;

/// Runs a pickle to its end.
pub(super) fn run(code: &[u8]) -> Ran<Objects> {
    let mut machine = Machine {
        code,
        at: 0,
        all: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Objects { all: machine.all, root });
        }
    }
}

struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    all: Vec<Object>,
    stack: Vec<Id>,
    /// How long the stack was at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Does one opcode; gives the result at the last.
    fn step(&mut self) -> Ran<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            // PROTO and FRAME.
            0x80 => {
                let version = self.byte()?;
                if version > 5 {
                    return Err(format!("pickles of version {version} are unknown"));
                }
            }
            0x95 => drop(self.take(8)?),
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            // BININT, BININT1, BININT2, LONG1.
            b'J' => {
                let number = self.u32()? as i32;
                self.push(Object::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Object::Int(number.into()));
            }
            b'M' => {
                let number = self.unsigned(2)?;
                self.push(Object::Int(number as i64));
            }
            0x8a => {
                let len = self.byte()?;
                let bytes = self.take(len.into())?;
                let number = long(bytes).ok_or("it holds a whole number of more than 64 bits")?;
                self.push(Object::Int(number));
            }
            b'G' => {
                let bytes = self.take(8)?.try_into().map_err(|_| "cut off")?;
                self.push(Object::Float(f64::from_be_bytes(bytes)));
            }
            // BINUNICODE, SHORT_BINUNICODE, SHORT_BINSTRING.
            b'X' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            b')' => self.push(Object::Tuple(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.since_mark()?;
                self.push(Object::Tuple(items));
            }
            count @ 0x85..=0x87 => {
                let items = self.last(usize::from(count - 0x84))?;
                self.push(Object::Tuple(items));
            }
            b'a' => {
                let items = self.last(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set(items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(items)?;
            }
            b'0' => drop(self.pop()?),
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET.
            b'q' => {
                let key = self.byte()?;
                self.memoize(key.into())?;
            }
            b'r' => {
                let key = self.u32()?;
                self.memoize(key)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let key = self.byte()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = self.u32()?;
                self.recall(key)?;
            }
            // GLOBAL and STACK_GLOBAL.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let class = class(module, name)?;
                self.push(class);
            }
            0x93 => {
                let names = self.last(2)?;
                let (Object::Text(module), Object::Text(name)) =
                    (&self.all[names[0]], &self.all[names[1]])
                else {
                    return Err("the name of a class is no text".into());
                };
                let class = class(module, name)?;
                self.push(class);
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage);
            }
            // REDUCE and NEWOBJ: a call.
            b'R' | 0x81 => {
                let call = self.last(2)?;
                let result = self.call(call[0], call[1])?;
                self.stack.push(result);
            }
            // BUILD: attributes, which ordered dicts of PyTorch's have, with versions of modules.
            b'b' => {
                self.pop()?;
                if !matches!(self.top()?, Object::Dict(_)) {
                    return Err("an object with attributes, which is not rebuilt".into());
                }
            }
            other => {
                return Err(format!(
                    "opcode {other:#04x} at byte {}, which files of tensors do not have",
                    self.at - 1
                ));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Ran<&'a [u8]> {
        let taken = self.code.get(self.at..).and_then(|rest| rest.get(..count));
        self.at += taken.map_or(0, <[u8]>::len);
        taken.ok_or_else(|| "the pickle is cut off".into())
    }

    fn byte(&mut self) -> Ran<u8> {
        Ok(self.take(1)?[0])
    }

    fn unsigned(&mut self, bytes: usize) -> Ran<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn u32(&mut self) -> Ran<u32> {
        Ok(self.unsigned(4)? as u32)
    }

    fn text(&mut self, bytes: usize) -> Ran<()> {
        let len = self.unsigned(bytes)? as usize;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8")?;
        self.push(Object::Text(text.into()));
        Ok(())
    }

    fn line(&mut self) -> Ran<&'a str> {
        let rest = &self.code[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or("the pickle is cut off")?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| "the name of a class is not UTF-8".into())
    }

    fn push(&mut self, object: Object) {
        self.stack.push(self.all.len());
        self.all.push(object);
    }

    fn pop(&mut self) -> Ran<Id> {
        // What lies below a mark belongs to another list.
        let floor = self.marks.last().copied().unwrap_or(0);
        let id = if self.stack.len() > floor { self.stack.pop() } else { None };
        id.ok_or_else(|| "the pickle takes what is not there".into())
    }

    fn last(&mut self, count: usize) -> Ran<Vec<Id>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Ran<Vec<Id>>>()?;
        items.reverse();
        Ok(items)
    }

    fn since_mark(&mut self) -> Ran<Vec<Id>> {
        let mark = self.marks.pop().ok_or("the pickle closes what is not open")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Ran<&mut Object> {
        let id = *self.stack.last().ok_or("the pickle takes what is not there")?;
        Ok(&mut self.all[id])
    }

    fn append(&mut self, mut items: Vec<Id>) -> Ran<()> {
        match self.top()? {
            Object::List(list) => list.append(&mut items),
            _ => return Err("the pickle appends to what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Ran<()> {
        let Object::Dict(dict) = self.top()? else {
            return Err("the pickle sets entries of what is no dict".into());
        };
        if items.len() % 2 == 1 {
            return Err("a dict has a key without a value".into());
        }
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Ran<()> {
        let id = *self.stack.last().ok_or("the pickle takes what is not there")?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Ran<()> {
        let id = self.memo.get(&key).ok_or("the pickle names what it has not made")?;
        self.stack.push(*id);
        Ok(())
    }

    /// A persistent id: `("storage", class, key, device, numel)`.
    fn storage(&self, id: Id) -> Ran<Object> {
        let odd = || "the pickle names something that is no storage of a tensor".to_owned();
        let Object::Tuple(parts) = &self.all[id] else { return Err(odd()) };
        let &[kind, class, key, _, numel] = &parts[..] else { return Err(odd()) };
        let Object::Text(kind) = &self.all[kind] else { return Err(odd()) };
        match (&**kind, &self.all[class], &self.all[key]) {
            ("storage", &Object::Class(Class::Storage(dtype)), Object::Text(key)) => {
                Ok(Object::Storage { key: key.clone(), dtype, numel: self.size(numel)? })
            }
            _ => Err(odd()),
        }
    }

    fn call(&mut self, class: Id, arguments: Id) -> Ran<Id> {
        let Object::Tuple(arguments) = &self.all[arguments] else {
            return Err("the arguments of a call are no tuple".into());
        };
        let Object::Class(class) = self.all[class] else {
            return Err("the pickle calls what is no class".into());
        };
        let object = match (class, &arguments[..]) {
            (Class::OrderedDict, []) => Object::Dict(Vec::new()),
            (Class::OrderedDict, &[pairs]) => Object::Dict(self.pairs(pairs)?),
            (Class::Size, &[sizes]) => match &self.all[sizes] {
                Object::Tuple(sizes) | Object::List(sizes) => Object::Tuple(sizes.clone()),
                _ => return Err("a torch.Size is made of no sizes".into()),
            },
            (Class::Device, parts) => Object::Text(self.device(parts)?),
            (Class::RebuildTensor, &[storage, offset, sizes, strides, ..]) => {
                if !matches!(self.all[storage], Object::Storage { .. }) {
                    return Err("a tensor without a storage".into());
                }
                let offset = self.size(offset)?;
                let (sizes, strides) = (self.sizes(sizes)?, self.sizes(strides)?);
                Object::Tensor { storage, offset, sizes, strides }
            }
            // A parameter is its tensor.
            (Class::RebuildParameter, &[tensor, ..]) => return Ok(tensor),
            (class, arguments) => {
                return Err(format!("{class:?} is called with {} arguments", arguments.len()));
            }
        };
        self.all.push(object);
        Ok(self.all.len() - 1)
    }

    fn pairs(&self, list: Id) -> Ran<Vec<(Id, Id)>> {
        let Object::List(list) = &self.all[list] else {
            return Err("an OrderedDict is made of no list".into());
        };
        let pair = |&id: &Id| match &self.all[id] {
            Object::Tuple(pair) | Object::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("an OrderedDict is made of no pairs".to_owned()),
        };
        list.iter().map(pair).collect()
    }

    /// As PyTorch prints it: `cuda:0`.
    fn device(&self, parts: &[Id]) -> Ran<Arc<str>> {
        match *parts {
            [kind] => match &self.all[kind] {
                Object::Text(kind) => Ok(kind.clone()),
                _ => Err("a torch.device without a name".into()),
            },
            [kind, index] => match (&self.all[kind], &self.all[index]) {
                (Object::Text(kind), Object::Int(index)) => Ok(format!("{kind}:{index}").into()),
                _ => Err("a torch.device without a name".into()),
            },
            _ => Err("a torch.device without a name".into()),
        }
    }

    fn size(&self, id: Id) -> Ran<usize> {
        match self.all[id] {
            Object::Int(size) => usize::try_from(size).map_err(|_| format!("a size of {size}")),
            _ => Err("a size that is no number".into()),
        }
    }

    fn sizes(&self, id: Id) -> Ran<Vec<usize>> {
        match &self.all[id] {
            Object::Tuple(items) | Object::List(items) => {
                items.iter().map(|&item| self.size(item)).collect()
            }
            _ => Err("sizes that are no tuple".into()),
        }
    }
}

/// What the pickle may name.
fn class(module: &str, name: &str) -> Ran<Object> {
    if let Some((.., class)) = CLASSES.iter().find(|known| (known.0, known.1) == (module, name)) {
        return Ok(Object::Class(*class));
    }
    let of_torch = |&&(_, storage, own): &&(DType, &str, &str)| name == storage || name == own;
    match DTYPES.iter().find(of_torch) {
        Some(&(dtype, storage, _)) if module == "torch" && name == storage => {
            Ok(Object::Class(Class::Storage(dtype)))
        }
        Some(&(dtype, ..)) if module == "torch" => Ok(Object::DType(dtype)),
        _ => Err(format!(
            "it holds `{module}.{name}`, which would have to be run and is refused; \
             save tensors in dicts and lists, as in `torch.save(model.state_dict(), path)`"
        )),
    }
}

/// A whole number as Python writes long ones: two's complement, little-endian.
fn long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let fill = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
    let mut number = [fill; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(number))
}
