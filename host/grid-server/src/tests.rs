use grid_proto::{BundleDescription, BundleHash};

use crate::bundle_files::BundleFiles;

#[test]
fn an_interrupted_write_leaves_no_trace_and_accepted_bundles_come_back() {
    let state = tempfile::tempdir().unwrap();
    let files = BundleFiles::open(state.path()).unwrap();
    let (whole, unchecked) = (BundleHash::of(b"whole"), BundleHash::of(b"unchecked"));
    files.save(whole, b"whole").unwrap();
    files.save(unchecked, b"unchecked").unwrap();
    let description = BundleDescription {
        name: "b".into(),
        version: "1.0.0".into(),
        sdk: "test".into(),
        tasks: Vec::new(),
        imports: Vec::new(),
    };
    files.accept(whole, &description).unwrap();
    let half = state.path().join("bundles/7-0.tmp");
    std::fs::write(&half, b"who").unwrap();

    let files = BundleFiles::open(state.path()).unwrap();
    assert!(!half.exists());
    let restored = files.restore();
    assert_eq!(restored.len(), 1);
    assert_eq!((restored[0].hash, restored[0].size_bytes), (whole, 5));
    assert_eq!(restored[0].description, description);
    assert_eq!(files.read(unchecked).unwrap(), b"unchecked");
    files.remove(whole);
    assert!(files.has(whole).is_none());
}
