//! The simulated present: every second a second of each place, when it has been heard.

use antiphon_demo::Place;
use antiphon_platform::clock::SECOND;
use anyhow::Result;

use super::{Demo, sensors};

/// Seconds that a sensor catches up with after it could not send. After a longer time (the machine slept) it goes on with the
/// present, and what was missed is a gap.
const CATCHES_UP: i64 = 60;

/// Plays until everything stops.
pub fn run(demo: &Demo) -> Result<()> {
    let mut senders = Vec::new();
    for place in Place::ALL {
        senders.push((place, sensors::sender(demo, place)?));
    }
    let mut second = demo.begins;
    let mut samples = Vec::new();
    while demo.wait_until((second + 1) * SECOND) {
        let late = demo.clock.now().div_euclid(SECOND) - second;
        if late > CATCHES_UP {
            tracing::info!(seconds = late, "demo: the sensors missed some time and go on with the present");
            second += late;
            continue;
        }
        for (place, sender) in &mut senders {
            if !place.has_power(second, demo.born) {
                continue;
            }
            samples.clear();
            let seconds = (sensors::LEAD_IN + 1) as u32;
            demo.synthesiser.render(*place, second - sensors::LEAD_IN, seconds, &mut samples);
            let sound = sensors::sound(*place, second, 1, &samples)?;
            if !sensors::send(demo, sender, &sound)? {
                return Ok(());
            }
        }
        second += 1;
    }
    Ok(())
}
