from __future__ import annotations

import pytest

from monitor.capture.mounts import mount_of, mounts_below, parse_mounts

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /src/plates rw - cifs //imager/out rw
31 22 0:41 / /src/my\040share rw shared:5 - fuse.sshfs user@host: rw
32 22 8:17 / /src/disk rw - xfs /dev/sdb1 rw
33 32 0:42 / /src/disk/nas rw - nfs4 nas:/captures rw
40 22 8:1 /src/real /src/again rw - ext4 /dev/sda1 rw
41 22 8:1 /elsewhere /src/outside rw - ext4 /dev/sda1 rw
42 22 8:1 /elsewhere/deep /src/outside-too rw - ext4 /dev/sda1 rw
43 22 8:1 / /src/all rw - ext4 /dev/sda1 rw
44 22 8:1 /src/itself /src/itself rw - ext4 /dev/sda1 rw
45 22 8:1 /src /src/loop rw - ext4 /dev/sda1 rw
46 22 8:1 /src/up/down /src/up rw - ext4 /dev/sda1 rw
50 22 0:50 / /src/covered rw - ext4 /dev/sdc1 rw
51 50 0:51 / /src/covered/below rw - nfs4 nas:/a rw
52 50 0:52 / /src/covered rw - tmpfs tmpfs rw
60 22 0:60 / /src-2/share rw - cifs //imager/two rw
garbage
"""


@pytest.mark.parametrize(
    ("place", "shows"),
    [
        ("/src/plates", None),
        ("/src/my share", None),
        ("/src/disk", None),
        ("/src/disk/nas", None),
        ("/src/again", "/src/real"),
        ("/src/outside", None),
        ("/src/outside-too", "/src/outside/deep"),
        ("/src/all", "/src"),
        ("/src/itself", None),
        ("/src/loop", "/src"),
        ("/src/up", None),
        ("/src/covered", None),
    ],
)
def test_a_mount_below_a_source_shows_its_own_files_or_what_is_there_without_it(place, shows):
    """The same files at two places would be two captures of two dishes; a mount of a folder into
    itself would never end. A folder that is mounted on its own place is seen only there.
    """
    found = {one.place: one.shows for one in mounts_below("/src", parse_mounts(MOUNTS))}
    assert found[place] == shows


def test_what_is_covered_or_beside_is_not_below():
    places = [one.place for one in mounts_below("/src", parse_mounts(MOUNTS))]
    assert "/src/covered/below" not in places
    assert "/src-2/share" not in places
    assert places == sorted(places) and len(places) == 12
    assert [
        one.mount.file_system
        for one in mounts_below("/src", parse_mounts(MOUNTS))
        if one.place == "/src/covered"
    ] == ["tmpfs"]


@pytest.mark.parametrize(
    ("folder", "file_system"),
    [
        ("/", "ext4"),
        ("/src", "ext4"),
        ("/src/plates/a", "cifs"),
        ("/src/plates-2", "ext4"),
        ("/src/disk/nas/x", "nfs4"),
        ("/src/covered/below", "tmpfs"),
    ],
)
def test_the_mount_that_is_seen_counts_not_one_that_is_covered(folder, file_system):
    assert mount_of(folder, parse_mounts(MOUNTS)).file_system == file_system


@pytest.mark.parametrize("text", ["", "garbage", "1 2 3", "30 22 0:40 / /src rw - cifs x rw"])
def test_a_list_without_a_root_tells_nothing_of_a_folder(text):
    assert mount_of("/src/a", parse_mounts(text)) is None


def test_a_list_without_a_root_still_tells_what_is_mounted_in_a_folder():
    found = mounts_below("/src", parse_mounts("1 1 0:40 / / rw - overlay x rw\n" + MOUNTS))
    assert "/src/plates" in [one.place for one in found]


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        *(("ext4", True), ("xfs", True), ("btrfs", True), ("tmpfs", True), ("overlay", True)),
        *(("exfat", True), ("ntfs3", True), ("vfat", True)),
        *(("cifs", False), ("smb3", False), ("nfs", False), ("nfs4", False), ("9p", False)),
        *(("fuse.sshfs", False), ("fuseblk", False), ("virtiofs", False), ("glusterfs", False)),
    ],
)
def test_what_others_change_behind_the_kernel_is_polled(name, tells):
    (one,) = parse_mounts(f"22 1 8:1 / / rw - {name} x rw")
    assert one.tells_of_new_files is tells
