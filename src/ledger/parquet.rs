//! Rows as a Parquet file, a group of them at a time. Only the group that is being gathered is in
//! memory, and what the file's end says of each group before it.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::query::{Cell, Column, Kind};

/// Rows of a group.
const GROUP_ROWS: usize = 20_000;

/// Writes rows.
pub(super) struct Groups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Gathered>,
    rows: usize,
}

/// The values of a column in the present group, without those that are missing, and for each row
/// whether it has one.
struct Gathered {
    values: Values,
    there: Vec<i16>,
}

enum Values {
    Texts(Vec<ByteArray>),
    Numbers(Vec<i64>),
    Flags(Vec<bool>),
}

impl<W: Write + Send> Groups<W> {
    /// Begins a file.
    pub(super) fn begin(out: W, columns: &[Column]) -> io::Result<Self> {
        let fields: Result<Vec<TypePtr>, ParquetError> = columns.iter().map(field).collect();
        let schema = Type::group_type_builder("ledger").with_fields(fields.map_err(failed)?);
        let schema = schema.build().map_err(failed)?;
        // What would be kept of each group until the end is kept small.
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties));
        let columns = columns.iter().map(|column| Gathered::of(column.kind)).collect();
        Ok(Self { file: file.map_err(failed)?, columns, rows: 0 })
    }

    /// Takes a row. A group that nobody asked to end in time ends here.
    pub(super) fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.rows += 1;
        if self.rows >= 2 * GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Ends the group if it is long enough.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        if self.rows >= GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Ends the file.
    pub(super) fn end(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.into_inner().map_err(failed)
    }

    fn end_group(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut to) = group.next_column().map_err(failed)? else { break };
            column.write(&mut to).map_err(failed)?;
            to.close().map_err(failed)?;
        }
        self.rows = 0;
        group.close().map(drop).map_err(failed)
    }
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => io::Error::other(cause),
        error => io::Error::other(error),
    }
}

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Number => (Physical::INT64, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Flag => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    field.build().map(Arc::new)
}

impl Gathered {
    fn of(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Texts(Vec::new()),
            Kind::Number | Kind::Time => Values::Numbers(Vec::new()),
            Kind::Flag => Values::Flags(Vec::new()),
        };
        Self { values, there: Vec::new() }
    }

    fn push(&mut self, cell: &Cell) {
        let there = match (&mut self.values, cell) {
            (Values::Texts(texts), Cell::Text(text)) => {
                texts.push(ByteArray::from(text.as_str()));
                true
            }
            (Values::Numbers(numbers), Cell::Number(number)) => {
                numbers.push(*number);
                true
            }
            (Values::Flags(flags), Cell::Number(flag)) => {
                flags.push(*flag != 0);
                true
            }
            _ => false,
        };
        self.there.push(there.into());
    }

    fn write(&mut self, to: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Texts(texts) => write::<ByteArrayType>(to, texts, &self.there)?,
            Values::Numbers(numbers) => write::<Int64Type>(to, numbers, &self.there)?,
            Values::Flags(flags) => write::<BoolType>(to, flags, &self.there)?,
        }
        self.there.clear();
        Ok(())
    }
}

fn write<T: DataType>(
    to: &mut SerializedColumnWriter<'_>,
    values: &mut Vec<T::T>,
    there: &[i16],
) -> Result<(), ParquetError> {
    to.typed::<T>().write_batch(values, Some(there), None)?;
    values.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    #[test]
    fn rows_read_back_as_they_were() {
        let columns = [
            Column { name: "time", kind: Kind::Time },
            Column { name: "user", kind: Kind::Text },
            Column { name: "stream", kind: Kind::Flag },
            Column { name: "cost_nano_usd", kind: Kind::Number },
        ];
        let row = |number: i64| {
            let user = if number % 3 == 0 { Cell::Null } else { Cell::Text(format!("ü{number}")) };
            let cost = if number % 2 == 0 { Cell::Null } else { Cell::Number(-number) };
            [Cell::Number(1_699_920_000_000 + number), user, Cell::Number(number % 2), cost]
        };
        // More than a group: the first ends at a pause, the second because there is none.
        let rows = 3 * GROUP_ROWS as i64 + 10;
        let mut file = Groups::begin(Vec::new(), &columns).expect("begun");
        for number in 0..rows {
            file.row(&row(number)).expect("taken");
            if number < GROUP_ROWS as i64 && number % 1000 == 999 {
                file.pause().expect("written");
            }
        }
        let bytes = Bytes::from(file.end().expect("ended"));
        let reader = SerializedFileReader::new(bytes).expect("a file");
        let groups = reader.metadata().row_groups().iter();
        let groups: Vec<i64> = groups.map(RowGroupMetaData::num_rows).collect();
        assert_eq!(groups, [GROUP_ROWS as i64, 2 * GROUP_ROWS as i64, 10]);
        let mut number = 0;
        for read in reader.get_row_iter(None).expect("rows") {
            let read = read.expect("a row");
            let fields: Vec<&Field> = read.get_column_iter().map(|(_, field)| field).collect();
            let [time, user, stream, cost] = fields[..] else { panic!("{read:?}") };
            assert_eq!(*time, Field::TimestampMillis(1_699_920_000_000 + number));
            let text =
                if number % 3 == 0 { Field::Null } else { Field::Str(format!("ü{number}")) };
            assert_eq!((user, stream), (&text, &Field::Bool(number % 2 == 1)));
            assert_eq!(*cost, if number % 2 == 0 { Field::Null } else { Field::Long(-number) });
            number += 1;
        }
        assert_eq!(number, rows);
    }
}
