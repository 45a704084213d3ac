use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Takes so many thousandths of a core for some seconds; the steps, with the second in which each came.
fn takes(control: &mut Control, used: u32, seconds: u32) -> Vec<(u32, Step)> {
    let cpu = Duration::from_micros(u64::from(used) * 1000);
    let steps = (1..=seconds).filter_map(|second| Some((second, control.took(SECOND, cpu)?)));
    steps.collect()
}

#[test]
fn levels_go_down_step_by_step_and_up_again_once_it_is_quiet() {
    let mut control = Control::new(Some(500));
    assert_eq!(takes(&mut control, 500, 60), []);
    assert_eq!(
        takes(&mut control, 501, 60),
        [
            (3, Step::Lowered(Level::Headers)),
            (6, Step::Lowered(Level::Summary)),
            (9, Step::Lowered(Level::None)),
        ]
    );
    // Near the budget there is no room for more.
    assert_eq!(takes(&mut control, 360, 600), []);
    assert_eq!(
        takes(&mut control, 350, 60),
        [
            (12, Step::Raised(Level::Summary)),
            (24, Step::Raised(Level::Headers)),
            (36, Step::Raised(Level::Full)),
        ]
    );
}

#[test]
fn a_moment_above_the_budget_is_no_reason() {
    let mut control = Control::new(Some(100));
    for _ in 0..20 {
        assert_eq!(takes(&mut control, 290, 1), []);
        assert_eq!(takes(&mut control, 0, 2), []);
    }
    assert_eq!(control.used(), 96);
}

#[test]
fn a_raise_that_does_not_last_makes_the_next_one_wait_longer() {
    let mut control = Control::new(Some(100));
    assert_eq!(takes(&mut control, 200, 3).len(), 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        // Below the budget while levels are lowered, above it once they are not.
        let mut seconds = 0;
        while takes(&mut control, 50, 1).is_empty() {
            seconds += 1;
        }
        waits.push(seconds + 1);
        assert_eq!(
            takes(&mut control, 200, 3),
            [(3, Step::Lowered(Level::Headers))]
        );
    }
    assert_eq!(waits, [12, 21, 42, 81, 162, 321, 321, 321]);
    // One that lasts forgets that.
    assert_eq!(takes(&mut control, 50, 699).len(), 1);
    assert_eq!(takes(&mut control, 200, 3).len(), 1);
    assert_eq!(takes(&mut control, 50, 12).len(), 1);
}

#[test]
fn without_a_budget_there_is_no_bound_and_another_one_begins_anew() {
    let mut control = Control::new(None);
    assert_eq!(takes(&mut control, 64_000, 60), []);
    assert_eq!((control.level(), control.used()), (Level::Full, 64_000));
    assert_eq!(control.set_budget(Some(10)), None);
    assert_eq!(takes(&mut control, 20, 3).len(), 1);
    assert_eq!(control.set_budget(Some(1000)), None);
    assert_eq!(control.level(), Level::Headers);
    assert_eq!(control.set_budget(None), Some(Step::Raised(Level::Full)));
}

proptest! {
    /// Whatever is taken: at most one step a window, each to its neighbour, down only where use was above the budget and
    /// up only where it was below.
    #[test]
    fn each_step_has_its_reason(
        budget in 1u32..2000,
        uses in prop::collection::vec((1u64..3000, 0u32..4000), 1..300),
    ) {
        let mut control = Control::new(Some(budget));
        let mut level = control.level();
        for (millis, used) in uses {
            let time = Duration::from_millis(millis);
            match control.took(time, time * used / 1000) {
                None => prop_assert_eq!(control.level(), level),
                Some(Step::Lowered(to)) => {
                    prop_assert!(to < level && control.used() >= budget);
                    prop_assert_eq!(to, control.level());
                }
                Some(Step::Raised(to)) => {
                    prop_assert!(to > level && control.used() < budget);
                    prop_assert_eq!(to, control.level());
                }
            }
            level = control.level();
        }
    }

    /// The higher the load, the lower the level that it ends at, where use does not depend on levels.
    #[test]
    fn what_stays_above_ends_at_none_and_what_stays_below_at_all(budget in 10u32..2000, used in 0u32..4000) {
        prop_assume!(used <= budget * 69 / 100 || used > budget + 1);
        let mut control = Control::new(Some(budget));
        takes(&mut control, used, 600);
        let end = if used > budget { Level::None } else { Level::Full };
        prop_assert_eq!(control.level(), end);
    }
}
