import json

import pytest
from typer.testing import CliRunner

from monitor.__main__ import app
from monitor.commands.calibrate import read_points
from monitor.culture import CalibrationKind
from monitor.errors import CalibrationError, MonitorError, UsageError
from monitor.record.store import Store

TAUGHT = """row_px,column_px,x_um,y_um
100,150,50241.2,29838.0
100,1850,52975.5,29742.9
1400,150,50169.3,27746.5
1400,1850,52903.1,27653.6
750,1000,51572.6,28745.1
"""
SOURCE = "{name: incubator, path: captures, pixel_size_um: 1.61, objective: 4x}"


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taught.csv").write_text(TAUGHT)
    (tmp_path / "config.yaml").write_text(f"sources: [{SOURCE}]\n")

    def run(*arguments, **settings):
        done = CliRunner().invoke(app, ["calibrate", *arguments], **settings)
        if isinstance(done.exception, MonitorError):
            raise done.exception
        return done

    return run


def on_record(folder):
    with Store(f"sqlite:///{folder / 'state' / 'colonywatch.sqlite'}") as store:
        return store.calibrations.all()


def test_taught_points_become_a_calibration_on_record(call, tmp_path):
    done = call("--points", "taught.csv", "--who", "A. Person", "--out", "residuals.png")
    assert done.exit_code == 0
    (made,) = on_record(tmp_path)
    assert (made.source, made.kind, made.made_by) == ("incubator", "camera", "A. Person")
    assert (made.objective, made.pixel_size_um, made.max_age_days) == ("4x", 1.61, 90.0)
    assert made.mirrored
    assert made.pixel_to_stage[0] == pytest.approx((0.9989, -0.0345), abs=1e-3)
    assert len(made.points) == 5
    assert (tmp_path / "residuals.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_says_what_a_person_must_see(call):
    said = call("--points", "taught.csv").output
    for part in (
        "scale     1.6092 and 1.609 um/px (pixel size 1.61)",
        "rotation  -1.97 degrees, axes 90.01 degrees apart",
        "mirrored  yes (determinant negative)",
        "RMS       0.52 um, largest 0.61 um",
    ):
        assert part in said


def test_a_dry_run_leaves_nothing_on_record(call, tmp_path):
    assert "not recorded" in call("--points", "taught.csv", "--dry-run").output
    assert on_record(tmp_path) == []


def test_points_can_be_typed(call):
    typed = (
        "100 150 50241.2 29838.0\n1 2 3\nnan 1 2 3\n100, 1850, 52975.5, 29742.9\n"
        "1400 150 50169.3 27746.5\n\n"
    )
    done = call("--dry-run", "--json", input=typed)
    document = json.loads(done.stdout)
    assert len(document["points"]) == 3
    assert document["is_checked"] is False
    assert "give four numbers: row_px column_px x_um y_um" in done.stderr


def test_a_picker_is_taught_in_its_own_units(call, tmp_path, monkeypatch):
    (tmp_path / "picker.csv").write_text(
        "x_um;y_um;picker_x_mm;picker_y_mm\n"
        "2000;3000;-3,000;2,000\n98000;3000;-3,000;98,000\n"
        "2000;70000;-70,000;2,000\n98000;70000;-70,001;98,000\n"
    )
    call("--kind", "picker", "--points", "picker.csv")
    (made,) = on_record(tmp_path)
    assert made.kind is CalibrationKind.PICKER
    assert made.points[0] == (2000.0, 3000.0, -3000.0, 2000.0)
    assert not made.mirrored


def test_swapped_axes_are_found_by_the_former_calibration(call, tmp_path):
    call("--points", "taught.csv")
    swapped = TAUGHT.replace("row_px,column_px", "column_px,row_px")
    (tmp_path / "swapped.csv").write_text(swapped)
    with pytest.raises(CalibrationError, match="two axes are swapped"):
        call("--points", "swapped.csv")
    assert len(on_record(tmp_path)) == 1
    assert call("--points", "swapped.csv", "--not-mirrored").exit_code == 0


def test_what_the_configuration_says_wins_and_is_said(call, tmp_path):
    own = SOURCE.replace("}", ", calibration: {id: scope-1, pixel_to_stage: [[1, 0], [0, -1]]}}")
    (tmp_path / "config.yaml").write_text(f"sources: [{own}]\n")
    assert "which wins" in call("--points", "taught.csv").output
    standing = json.loads(call("--check", "--json").stdout)
    assert (standing[0]["id"], standing[0]["where"]) == ("scope-1", "config.yaml")


def test_what_each_source_uses_now(call, tmp_path):
    assert call("--check").exit_code == 0
    call("--points", "taught.csv")
    done = call("--check", "--json")
    standing = json.loads(done.stdout)
    assert (standing[0]["id"], standing[0]["where"]) == (on_record(tmp_path)[0].id, "record")
    (tmp_path / "config.yaml").write_text(f"sources: [{SOURCE.replace('4x', '10x')}]\n")
    done = call("--check", "--json")
    assert done.exit_code == 1
    assert "is for the objective 4x" in json.loads(done.stdout)[0]["problem"]


def test_the_list_has_every_calibration_newest_first(call):
    assert "no calibrations on record" in call("--list").output
    call("--points", "taught.csv")
    call("--points", "taught.csv", "--max-age-days", "7")
    listed = json.loads(call("--list", "--json").stdout)
    assert [one["max_age_days"] for one in listed] == [7.0, 90.0]
    assert "incubator" in call("--list").output


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("no such source", ("--source", "other"), "known: incubator, unlisted"),
        ("another pixel size", ("--pixel-size-um", "0.805"), "a factor of 2 is another binning"),
        ("outside the picture", ("--shape", "1000", "2000"), "outside the image of 1000 rows"),
        ("a tight limit", ("--residual-limit-um", "0.5"), "the limit 0.5 µm"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_is_written(
    call, tmp_path, name, arguments, said
):
    with pytest.raises(MonitorError, match=said):
        call("--points", "taught.csv", *arguments)
    assert on_record(tmp_path) == []


def test_a_first_calibration_says_what_nobody_can_know_of_it(call):
    said = "the points alone cannot show that no axes are swapped"
    assert said in call("--points", "taught.csv").stderr
    assert said not in call("--points", "taught.csv").stderr


def test_swapped_stage_axes_are_found_by_the_vessel(call, tmp_path):
    dish = ", vessel: {kind: dish, centre_um: [51500, 28700], well_diameter_mm: 35}}"
    (tmp_path / "config.yaml").write_text(f"sources: [{SOURCE.replace('}', dish)}]\n")
    (tmp_path / "swapped.csv").write_text(TAUGHT.replace("x_um,y_um", "y_um,x_um"))
    with pytest.raises(CalibrationError, match="inside it with x and y swapped"):
        call("--points", "swapped.csv")
    assert on_record(tmp_path) == []
    assert call("--points", "taught.csv").exit_code == 0


def test_with_several_sources_one_must_be_named(call, tmp_path):
    other = SOURCE.replace("incubator", "scope").replace("captures", "from-the-scope")
    (tmp_path / "config.yaml").write_text(f"sources: [{SOURCE}, {other}]\n")
    with pytest.raises(UsageError, match="say which source with --source: incubator, scope"):
        call("--points", "taught.csv")


# --- files of taught points ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("commas", "row_px,column_px,x_um,y_um\n1,2,3000,4.5\n"),
        ("other order and more columns", "note,y_um,x_um,column_px,row_px\na,4.5,3000,2,1\n"),
        ("semicolons and decimal commas", "row_px;column_px;x_um;y_um\n1;2;3000;4,5\n"),
        ("tabs", "row_px\tcolumn_px\tx_um\ty_um\n1\t2\t3000\t4.5\n"),
        ("mm", "row_px,column_px,x_mm,y_um\n1,2,3,4.5\n"),
        (
            "a mark at the head, blanks, comments",
            "\ufeffRow_px, Column_px, x_um, y_um\n\n# a\n1, 2, 3e3, 4.5\n",
        ),
    ],
)
def test_points_are_read_as_spreadsheets_write_them(tmp_path, name, text):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    found = read_points(tmp_path / "points.csv", CalibrationKind.CAMERA)
    assert found == [(1.0, 2.0, 3000.0, 4.5)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing", b"", "has no column row_px; its heading is empty"),
        ("another table", b"a,b\n1,2\n", "has no column row_px; its heading is a, b"),
        ("px for um", b"row_px,column_px,x,y\n1,2,3,4\n", "has no column x_um"),
        ("a word", b"row_px,column_px,x_um,y_um\n1,2,3,4\n1,2,x,4\n", "point 2: x_um is 'x'"),
        ("a cell short", b"row_px,column_px,x_um,y_um\n1,2,3\n", "point 1: y_um is ''"),
        (
            "decimal commas between commas",
            b"row_px,column_px,x_um,y_um\n1,0,2,0,3000,5,4,5\n",
            "point 1 has more cells than the heading",
        ),
        (
            "a column twice",
            b"row_px,column_px,x_um,x_um,y_um\n1,2,3,4,5\n",
            "has the column x_um twice",
        ),
        ("no text", b"row_px,column_px,x_um,y_um\n\xff\xfe", "is not UTF-8 text"),
        ("too large", b"1," * 600_000, "is too large"),
    ],
)
def test_a_file_that_holds_no_points_is_refused(tmp_path, name, content, said):
    (tmp_path / "points.csv").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_points(tmp_path / "points.csv", CalibrationKind.CAMERA)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.csv: cannot be read"):
        read_points(tmp_path / "nowhere.csv", CalibrationKind.CAMERA)


# --- a plate that lies askew --------------------------------------------------------------------

WELLS = "well,x_um,y_um\nA1,14380,11240\nh12,113200.5,74550\n"


def test_taught_wells_say_how_the_plate_lies_and_what_to_write_down(call, tmp_path):
    (tmp_path / "wells.csv").write_text(WELLS)
    done = call("--wells", "wells.csv", "--plate", "96-well")
    assert done.exit_code == 0
    assert "turned    0.17" in done.output
    line = "taught_wells: {A1: [14380.0, 11240.0], H12: [113200.5, 74550.0]}"
    assert line in done.output
    # What it says to write down is taken, and gives the same.
    vessel = f", vessel: {{kind: 96-well, {line}}}}}"
    (tmp_path / "config.yaml").write_text(f"sources: [{SOURCE.replace('}', vessel)}]\n")
    again = call("--wells", "wells.csv", "--json")
    document = json.loads(again.stdout)
    assert document["kind"] == "96-well"
    assert document["skew_deg"] == pytest.approx(0.17, abs=0.01)
    assert max(document["residuals_um"].values()) < 20
    assert on_record(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "arguments", "error", "said"),
    [
        (WELLS, (), UsageError, "say which plate it is with --plate"),
        (WELLS, ("--plate", "97-well"), UsageError, "97-well"),
        (WELLS, ("--plate", "24-well"), CalibrationError, "has no well H12"),
        (WELLS.replace("A1", "h12"), ("--plate", "96-well"), UsageError, "has well H12 twice"),
        ("well,x_um\nA1,1\n", ("--plate", "96-well"), UsageError, "has no column y_um"),
        ("well;x_mm;y_mm\nA1;14,38;11,24\n", ("--plate", "96-well"), CalibrationError, "at least"),
        ("well,x_um,y_um\nA1,14380,a\n", ("--plate", "96-well"), UsageError, "y_um is 'a'"),
        (
            "well,x_um,y_um\nH12,14380,11240\nA1,113380,74240\n",
            ("--plate", "96-well"),
            CalibrationError,
            "swapped",
        ),
    ],
)
def test_wells_that_cannot_be_used_are_refused_with_why(
    call, tmp_path, text, arguments, error, said
):
    (tmp_path / "wells.csv").write_text(text)
    with pytest.raises(error, match=said):
        call("--wells", "wells.csv", *arguments)
