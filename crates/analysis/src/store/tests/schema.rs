//! Databases of earlier versions, brought forward with their data.

use super::*;

/// Of each version but the newest: what its program had stored (the rows of [`fill`]), and the SHA-256 of all that could
/// be read of it ([`Store::dump`]). A new version adds the one before it here; versions 2 and 3 stored these rows as 1 did.
const EARLIER: &[(usize, &str, &str)] = &[
    (1, include_str!("earlier/1.sqlite.sql"), "ca333591eb005873bcfca8c0b2ee71de4d48744ff709412145dcfd61bd74b860"),
    (2, include_str!("earlier/1.sqlite.sql"), "ca333591eb005873bcfca8c0b2ee71de4d48744ff709412145dcfd61bd74b860"),
    (3, include_str!("earlier/1.sqlite.sql"), "ca333591eb005873bcfca8c0b2ee71de4d48744ff709412145dcfd61bd74b860"),
];

/// Everything that a store keeps: parts, pieces, an overlap, a failed recording, cells.
async fn fill(store: &Store) {
    let made = [
        Made::new(MAY + 1_234_567, 2 * SECOND, 1),
        Made { parts: 2, ..Made::new(MAY + 3 * SECOND, SECOND, 2) },
        Made { cuts: vec![MAY + 60 * SECOND], ..Made::new(MAY + 59 * SECOND, 2 * SECOND, 3) },
        Made { fault: "the file ends in the middle of a frame", ..Made::new(MAY + 70 * SECOND, SECOND, 4) },
    ];
    for made in &made {
        store.apply(&made.messages()).await;
    }
    store.roll_up().await;
}

async fn answers(store: &Store) -> String {
    let lines = store.dump(MAY - SECOND, MAY + 86_400 * SECOND).await;
    assert!(lines.len() > 20, "{lines:?}");
    data_encoding::HEXLOWER.encode(&Sha256::digest(lines.join("\n")))
}

#[tokio::test]
async fn every_earlier_version_is_brought_forward_with_its_data() {
    assert!(MIGRATIONS.iter().map(|step| step.version as usize).eq(1..=MIGRATIONS.len()));
    assert!(EARLIER.iter().map(|(version, ..)| *version).eq(1..MIGRATIONS.len()), "a version has no data here");
    for (version, rows, expected) in EARLIER {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("old.db").display());
        let steps = [&MIGRATIONS[..*version], antiphon_catalog::MIGRATIONS].concat();
        let old = Database::open(url.as_str(), &steps).await.unwrap();
        let mut tx = old.write().await.unwrap();
        for row in rows.lines().filter(|line| !line.starts_with("--")) {
            tx.execute(&Statement { name: "row", text: row.to_owned().leak() }, &[]).await.unwrap();
        }
        tx.commit().await.unwrap();
        drop(old);

        let db = Database::open(url.as_str(), &migrations()).await.unwrap();
        let store = Store { url, db, clock: Clock::manual(MAY + 3_600 * SECOND), space: Space::Folder(folder) };
        assert_eq!(answers(&store).await, *expected, "from version {version}");
        // It goes on where the old one ended: a repeat has no effect, something new has.
        fill(&store).await;
        assert_eq!(answers(&store).await, *expected, "from version {version}");
        let new = Made::new(MAY + 2 * SECOND, 10 * SECOND, 9);
        store.apply(&new.messages()).await;
        store.roll_up().await;
        assert_eq!(store.status(&new).await.unwrap().status, Status::Stored);
        assert_ne!(answers(&store).await, *expected);
    }
}
