//! A real shop's orders through Kafka into views, equal to one batch over the file.

use millstream_server::replay;

#[test]
fn the_slice_is_equal_to_the_batch() {
    let replayed = replay(None, Some(2)).unwrap();
    assert_eq!(replayed.lines, 10_852);
    for comparison in &replayed.comparisons {
        assert!(comparison.rows > 0, "{} is empty", comparison.view);
        let shown = &comparison.differences[..comparison.differences.len().min(10)];
        assert!(
            comparison.differences.is_empty(),
            "{}: {shown:?}",
            comparison.view
        );
    }
    assert_eq!(replayed.comparisons.len(), 5);
    assert!(replayed.is_equal());
}
