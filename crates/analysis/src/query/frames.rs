//! Frames as rows: every value at its own instant.

use antiphon_features::cells::{FRAMES, Values, frame_columns};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;

use super::columns::Column;
use crate::store::{self, LayerRow, Resolution, Source};

/// The values of frames, column by column, with the time at which each begins.
pub(super) async fn frames_of(
    tx: &mut ReadTransaction,
    source: &Source,
    layer: &LayerRow,
    columns: &[(usize, &Column)],
    from: Micros,
    to: Micros,
) -> Result<Vec<(Micros, Vec<Option<f32>>)>, Problem> {
    if layer.layer != FRAMES {
        return previews(tx, source, layer, columns, from, to).await;
    }
    let Some(descriptor) = antiphon_features::find(&layer.algorithm) else { return Ok(Vec::new()) };
    let places: Vec<usize> = columns
        .iter()
        .map(|(_, column)| frame_columns(descriptor, column.output.name).start + column.dimension)
        .collect();
    let frames = store::read_frames(tx, source, layer, from, to).await?;
    let values = |frame: &[f32]| {
        places.iter().map(|place| frame.get(*place).copied().filter(|value| value.is_finite())).collect()
    };
    Ok(frames.iter().map(|frame| (frame.start, values(&frame.values))).collect())
}

/// Rows of a preview as frames: ten a second.
async fn previews(
    tx: &mut ReadTransaction,
    source: &Source,
    layer: &LayerRow,
    columns: &[(usize, &Column)],
    from: Micros,
    to: Micros,
) -> Result<Vec<(Micros, Vec<Option<f32>>)>, Problem> {
    let (start, end) = (Resolution::Second.floor(from), Resolution::Second.ceil(to));
    let mut found = Vec::new();
    for (second, cell) in store::read_cells(tx, source.id, layer, Resolution::Second, start, end).await? {
        let Values::Preview(rows) = &cell.values else { continue };
        for (tenth, bands) in (0..).zip(rows.iter()) {
            let time = second + tenth * SECOND / 10;
            if let Some(bands) = bands.filter(|_| (from..to).contains(&time)) {
                let values = columns.iter().map(|(_, column)| bands.get(column.dimension).map(|band| f32::from(*band)));
                found.push((time, values.collect()));
            }
        }
    }
    Ok(found)
}
