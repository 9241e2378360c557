"""The virtual incubator: pictures of iPS cultures with exact truth."""
