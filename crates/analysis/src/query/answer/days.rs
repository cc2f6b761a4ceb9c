//! Noise indicators of the local days that rows are.

use std::collections::BTreeSet;

use antiphon_features::cells::{Cell, merge_cells, value};
use antiphon_features::descriptor::Output;
use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;

use super::{Answer, Row};
use crate::query::columns::{Column, Series};
use crate::query::grid::{Bucket, largest_cells};
use crate::query::noise::{self, Levels, Period, Stretch};
use crate::query::pieces::{self, join};
use crate::store::Resolution;

impl Answer {
    /// Puts the values of a series of noise indicators into the rows of days.
    pub(super) async fn add_days(
        &self,
        tx: &mut ReadTransaction,
        index: usize,
        series: &Series,
        days: &[Bucket],
        rows: &mut [Row],
    ) -> Result<(), Problem> {
        let Some((_, Column { output, .. })) = self.columns.of(index).next() else { return Ok(()) };
        let levels = self.days(tx, series, output, days).await?;
        for (row, levels) in rows.iter_mut().zip(levels) {
            for (place, column) in self.columns.of(index) {
                let stat = column.stat.as_deref().unwrap_or_default();
                row.values[place] = levels.value(stat).map(|level| level as f32);
            }
        }
        Ok(())
    }

    /// The levels of the periods of each day.
    async fn days(
        &self,
        tx: &mut ReadTransaction,
        series: &Series,
        output: &'static Output,
        days: &[Bucket],
    ) -> Result<Vec<Levels>, Problem> {
        let (Some(layer), Some(layout)) = (&series.row, series.layout) else {
            return Ok(vec![Levels::default(); days.len()]);
        };
        let stretches: Vec<Vec<Stretch>> = days.iter().map(|day| noise::stretches(*day, self.zone)).collect();
        let parts: Vec<Vec<(Resolution, Micros)>> =
            stretches.iter().flatten().map(|stretch| self.parts_of(stretch)).collect();
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Vec::new()) };
        let whole = (Resolution::Hour, first.start.max(self.first), last.end.min(self.end));
        let cells = pieces::read(tx, self.number(), layer, &parts, whole).await?;
        let mut known = BTreeSet::new();
        for newer in &series.newer {
            known.extend(pieces::read(tx, self.number(), newer, &parts, whole).await?.into_keys());
        }
        let mut all = Vec::with_capacity(days.len());
        for stretches in &stretches {
            let mut levels = Levels::default();
            for period in Period::ALL {
                let mut found: Vec<Cell> = Vec::new();
                for stretch in stretches.iter().filter(|stretch| stretch.period == period) {
                    let parts = self.parts_of(stretch);
                    found.extend(if parts.iter().any(|part| known.contains(part)) {
                        self.only_here(tx, series, Bucket { start: stretch.start, end: stretch.end }).await?
                    } else {
                        join(layout, &parts, &cells)
                    });
                }
                if found.is_empty() {
                    continue;
                }
                let cell = merge_cells(layout, &found.iter().collect::<Vec<_>>());
                if noise::is_heard(stretches, period, cell.heard) {
                    levels.set(period, value(&cell, output, noise::LEVEL, 0).map(f64::from));
                }
            }
            all.push(levels);
        }
        Ok(all)
    }

    /// The stored cells that a stretch of a day, clipped to the range, is made of.
    fn parts_of(&self, stretch: &Stretch) -> Vec<(Resolution, Micros)> {
        largest_cells(stretch.start.max(self.first), stretch.end.min(self.end))
    }
}
