//! Writers of tiny checkpoints for tests: what `torch.save` and `safetensors` write, and what they never would.

use super::{Checkpoint, FileDType};
use std::io::Write;

/// An object to pickle as torch does.
#[derive(Clone, Debug)]
pub(crate) enum TorchValue {
    Dict(Vec<(String, TorchValue)>),
    OrderedDict(Vec<(String, TorchValue)>),
    List(Vec<TorchValue>),
    Int(i32),
    Tensor(TorchTensor),
    /// Instructions to put in as they are.
    Raw(Vec<u8>),
}

/// A tensor on a storage of its own.
#[derive(Clone, Debug)]
pub(crate) struct TorchTensor {
    pub(crate) class: &'static str,
    pub(crate) shape: Vec<i32>,
    pub(crate) strides: Vec<i32>,
    pub(crate) offset: i32,
    pub(crate) elements: i32,
    pub(crate) data: Vec<u8>,
}

impl TorchValue {
    pub(crate) fn dict<K: Into<String>>(items: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(items.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    pub(crate) fn f32(shape: &[i32], values: &[f32]) -> Self {
        Self::tensor("FloatStorage", 4, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn tensor(class: &'static str, element_bytes: usize, shape: &[i32], data: Vec<u8>) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let elements = (data.len() / element_bytes) as i32;
        Self::Tensor(TorchTensor { class, shape: shape.to_vec(), strides, offset: 0, elements, data })
    }
}

/// A torch archive.
#[derive(Clone, Debug)]
pub(crate) struct TorchFile {
    pub(crate) entries: Vec<(String, Vec<u8>)>,
}

impl TorchFile {
    /// The archive of an object.
    pub(crate) fn of(root: TorchValue) -> Self {
        let mut pickler = Pickler { pickle: vec![0x80, 2], storages: Vec::new() };
        pickler.value(root);
        pickler.pickle.push(b'.');
        Self::with_pickle(pickler.pickle, pickler.storages)
    }

    /// The archive of a pickle that is already there.
    pub(crate) fn with_pickle(pickle: Vec<u8>, storages: Vec<Vec<u8>>) -> Self {
        let mut entries = vec![
            ("archive/data.pkl".to_owned(), pickle),
            ("archive/byteorder".to_owned(), b"little".to_vec()),
        ];
        for (key, data) in storages.into_iter().enumerate() {
            entries.push((format!("archive/data/{key}"), data));
        }
        entries.push(("archive/version".to_owned(), b"3\n".to_vec()));
        Self { entries }
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let entries: Vec<_> = self.entries.iter().map(|(name, data)| ZipEntry::stored(name, data)).collect();
        zip(&entries, Zip64::No)
    }
}

/// Opens what was written.
pub(crate) fn open(file: &TorchFile) -> Checkpoint {
    Checkpoint::from_bytes("test.pt", file.bytes()).unwrap()
}

/// A safetensors file of `f32` tensors.
pub(crate) fn safetensors_file(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!({
            "dtype": FileDType::F32.name(), "shape": shape, "data_offsets": [start, data.len()]
        });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [(header.len() as u64).to_le_bytes().to_vec(), header, data].concat()
}

struct Pickler {
    pickle: Vec<u8>,
    storages: Vec<Vec<u8>>,
}

impl Pickler {
    fn value(&mut self, value: TorchValue) {
        match value {
            TorchValue::Dict(items) => {
                self.pickle.push(b'}');
                self.items(items);
            }
            TorchValue::OrderedDict(items) => {
                self.global("collections", "OrderedDict");
                self.pickle.extend(b")R");
                self.items(items);
            }
            TorchValue::List(items) => {
                self.pickle.extend(b"](");
                for item in items {
                    self.value(item);
                }
                self.pickle.push(b'e');
            }
            TorchValue::Int(value) => self.int(value),
            TorchValue::Raw(instructions) => self.pickle.extend(instructions),
            TorchValue::Tensor(tensor) => self.tensor(tensor),
        }
    }

    fn items(&mut self, items: Vec<(String, TorchValue)>) {
        self.pickle.push(b'(');
        for (key, value) in items {
            self.text(&key);
            self.value(value);
        }
        self.pickle.push(b'u');
    }

    fn tensor(&mut self, tensor: TorchTensor) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.pickle.extend(b"((");
        self.text("storage");
        self.global("torch", tensor.class);
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.int(tensor.elements);
        self.pickle.extend(b"tQ");
        self.int(tensor.offset);
        for extents in [tensor.shape, tensor.strides] {
            self.pickle.push(b'(');
            for extent in extents {
                self.int(extent);
            }
            self.pickle.push(b't');
        }
        self.pickle.push(0x89);
        self.global("collections", "OrderedDict");
        self.pickle.extend(b")RtR");
        self.storages.push(tensor.data);
    }

    fn text(&mut self, text: &str) {
        self.pickle.push(b'X');
        self.pickle.extend((text.len() as u32).to_le_bytes());
        self.pickle.extend(text.as_bytes());
    }

    fn int(&mut self, value: i32) {
        self.pickle.push(b'J');
        self.pickle.extend(value.to_le_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.pickle.extend(format!("c{module}\n{name}\n").bytes());
    }
}

/// An entry with a header that may lie.
pub(crate) struct ZipEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) data: &'a [u8],
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) stored_bytes: u64,
    pub(crate) unpacked_bytes: u64,
}

impl<'a> ZipEntry<'a> {
    pub(crate) fn stored(name: &'a str, data: &'a [u8]) -> Self {
        let len = data.len() as u64;
        Self { name, data, method: 0, flags: 0, stored_bytes: len, unpacked_bytes: len }
    }
}

/// Which records have 64-bit values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zip64 {
    No,
    /// All of them, however small the values.
    Everywhere,
}

/// A zip archive.
pub(crate) fn zip(entries: &[ZipEntry<'_>], zip64: Zip64) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = ZipWriter::new(&mut file, zip64);
    for entry in entries {
        writer.entry(entry);
    }
    writer.finish();
    file
}

/// Writes a zip archive entry by entry, so that memory need not hold it. As torch does, local headers are padded so that data
/// is aligned to 64 bytes.
pub(crate) struct ZipWriter<W> {
    out: W,
    written: u64,
    directory: Vec<u8>,
    entries: u64,
    wide: bool,
}

impl<W: Write> ZipWriter<W> {
    pub(crate) fn new(out: W, zip64: Zip64) -> Self {
        Self { out, written: 0, directory: Vec::new(), entries: 0, wide: zip64 == Zip64::Everywhere }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.out.write_all(bytes).unwrap();
        self.written += bytes.len() as u64;
    }

    pub(crate) fn entry(&mut self, entry: &ZipEntry<'_>) {
        let local_header = self.written;
        let padding = (64 - (self.written as usize + 34 + entry.name.len()) % 64) % 64;
        let mut header = Vec::new();
        put(&mut header, &[0x0403_4b50], 4);
        put(&mut header, &[20, entry.flags.into(), entry.method.into(), 0, 0], 2);
        put(&mut header, &[0, entry.stored_bytes, entry.unpacked_bytes], 4);
        put(&mut header, &[entry.name.len() as u64, padding as u64 + 4], 2);
        header.extend(entry.name.as_bytes());
        put(&mut header, &[u64::from(u16::from_le_bytes(*b"FB")), padding as u64], 2);
        header.extend(std::iter::repeat_n(b'Z', padding));
        self.write(&header);
        self.write(entry.data);

        let (directory, wide) = (&mut self.directory, self.wide);
        let values = [entry.unpacked_bytes, entry.stored_bytes, local_header];
        let [unpacked, stored, at] = if wide { [u64::from(u32::MAX); 3] } else { values };
        put(directory, &[0x0201_4b50], 4);
        put(directory, &[20, 20, entry.flags.into(), entry.method.into(), 0, 0], 2);
        put(directory, &[0, stored, unpacked], 4);
        put(directory, &[entry.name.len() as u64, if wide { 28 } else { 0 }, 0, 0, 0], 2);
        put(directory, &[0, at], 4);
        directory.extend(entry.name.as_bytes());
        if wide {
            put(directory, &[1, 24], 2);
            put(directory, &values, 8);
        }
        self.entries += 1;
    }

    pub(crate) fn finish(mut self) {
        let start = self.written;
        let (count, bytes) = (self.entries, self.directory.len() as u64);
        let directory = std::mem::take(&mut self.directory);
        self.write(&directory);
        let mut records = Vec::new();
        if self.wide {
            let end = self.written;
            put(&mut records, &[0x0606_4b50], 4);
            put(&mut records, &[44], 8);
            put(&mut records, &[45, 45], 2);
            put(&mut records, &[0, 0], 4);
            put(&mut records, &[count, count, bytes, start], 8);
            put(&mut records, &[0x0706_4b50, 0], 4);
            put(&mut records, &[end], 8);
            put(&mut records, &[1], 4);
        }
        put(&mut records, &[0x0605_4b50], 4);
        let [count, bytes, start] = if self.wide { [u64::MAX; 3] } else { [count, bytes, start] };
        put(&mut records, &[0, 0, count, count], 2);
        put(&mut records, &[bytes, start], 4);
        put(&mut records, &[0], 2);
        self.write(&records);
        self.out.flush().unwrap();
    }
}

/// Appends the low bytes of numbers.
fn put(out: &mut Vec<u8>, values: &[u64], bytes: usize) {
    for value in values {
        out.extend(&value.to_le_bytes()[..bytes]);
    }
}
