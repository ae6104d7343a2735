"""CelebA's layout is read as distributed; what is missing or wrong is named with its remedy."""

import numpy as np
import pytest

from celebahq import FormatError, ToolError
from celebahq.sources.celeba import index_celeba, missing_photos

COLUMNS = " ".join(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)
ROWS = [
    "000001.jpg 165  184  244  176  196  249  194  271  266  260",
    "000002.jpg 140  204  220  204  168  254  146  289  226  289",
    "000003.jpg 244  104  264  105  263  121  235  134  251  140",
]
ATTRIBUTE_NAMES = [f"Attribute_{i}" for i in range(40)]


def write(path, *lines, newline="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(newline.join([*lines, ""]), newline="")


@pytest.fixture(params=["img_celeba", "Img/img_celeba"])
def celeba(tmp_path, request):
    (tmp_path / request.param).mkdir(parents=True)
    for row in ROWS:
        (tmp_path / request.param / row.split()[0]).touch()
    write(tmp_path / "Anno/list_landmarks_celeba.txt", "3", COLUMNS, *ROWS)
    signs = np.where(np.arange(120).reshape(3, 40) % 7 == 0, 1, -1)
    write(
        tmp_path / "Anno/list_attr_celeba.txt",
        "3",
        " ".join(ATTRIBUTE_NAMES),
        *(f"00000{i + 1}.jpg " + " ".join(f"{s:2d}" for s in row) for i, row in enumerate(signs)),
    )
    write(tmp_path / "Anno/identity_CelebA.txt", "000001.jpg 2880", "000002.jpg 2937", "000003.jpg 8692")
    return tmp_path


def test_records_follow_the_landmark_file(celeba):
    index = index_celeba(celeba)
    assert len(index) == 3
    record = index[1]
    assert record.index == 1
    assert record.name == "000002.jpg"
    assert record.path.is_file()
    assert record.landmarks.tolist() == [[140, 204], [220, 204], [168, 254], [146, 289], [226, 289]]
    assert record.orient is False  # the annotations are in the file's own pixel frame
    assert record.label is None
    assert missing_photos(index) == []


def test_a_slice_is_an_index_too(celeba):
    part = index_celeba(celeba, ["identities"])[:2]
    assert [record.name for record in part] == ["000001.jpg", "000002.jpg"]
    assert part.labels.tolist() == [[2880], [2937]]


def test_attributes_and_identities_become_labels(celeba):
    index = index_celeba(celeba, ["attributes", "identities"])
    assert index.label_names == (*ATTRIBUTE_NAMES, "identity")
    assert index.labels.dtype == np.float32
    np.testing.assert_array_equal(index.labels[:, :40].ravel(), np.arange(120) % 7 == 0)
    assert index[2].label[-1] == 8692


def test_coordinates_may_have_fractions_and_lines_carriage_returns(celeba):
    write(
        celeba / "Anno/list_landmarks_celeba.txt",
        "1",
        COLUMNS,
        "a b.jpg 1.5 2 3 4 5 6 7 8 9 10.25",
        newline="\r\n",
    )
    index = index_celeba(celeba)
    assert index.names == ("a b.jpg",)
    assert index.landmarks[0].ravel().tolist() == [1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10.25]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["4", COLUMNS, *ROWS], "announces 4 photos, but 3 follow"),
        (["3", COLUMNS, *ROWS[:2]], "announces 3 photos, but 2 follow"),
        ([COLUMNS, *ROWS], "line 1 must be the number of photos"),
        (["3", "image_id x_1 y_1 width height", "a 1 2 3 4", "b 1 2 3 4", "c 1 2 3 4"], "line 2 must name"),
        (["3", COLUMNS, ROWS[0], ROWS[1], "000003.jpg 244 104"], "line 5 must be"),
        (["3", COLUMNS, ROWS[0], ROWS[1], "000003.jpg" + " x" * 10], "line 5 must be"),
        (["3", COLUMNS, ROWS[0], ROWS[1], ROWS[1]], "names a photo twice"),
        ([""], "line 1 must be"),
    ],
)
def test_a_damaged_landmark_file_is_described(celeba, lines, message):
    write(celeba / "Anno/list_landmarks_celeba.txt", *lines)
    with pytest.raises(FormatError, match=message) as error:
        index_celeba(celeba)
    assert "list_landmarks_celeba.txt" in str(error.value)


def test_missing_parts_are_named_with_how_to_get_them(celeba, tmp_path_factory):
    with pytest.raises(ToolError, match=r"no folder img_celeba.*img_celeba\.7z"):
        index_celeba(tmp_path_factory.mktemp("empty"))
    (celeba / "Anno/identity_CelebA.txt").unlink()
    with pytest.raises(ToolError, match=r"identity_CelebA\.txt: not found; from https"):
        index_celeba(celeba, ["identities"])
    index_celeba(celeba)  # not needed without labels
    (celeba / "Anno/list_landmarks_celeba.txt").unlink()
    with pytest.raises(ToolError, match=r"list_landmarks_celeba\.txt: not found; from https"):
        index_celeba(celeba)


def test_missing_photos_are_listed_and_all_missing_is_an_error(celeba):
    index = index_celeba(celeba)
    index[0].path.unlink()
    assert missing_photos(index) == ["000001.jpg"]
    index[1].path.unlink()
    index[2].path.unlink()
    with pytest.raises(ToolError, match="holds none of the 3 annotated photos"):
        missing_photos(index)


def test_labels_of_other_photos_are_refused(celeba):
    write(celeba / "Anno/identity_CelebA.txt", "000001.jpg 1", "000002.jpg 2")
    with pytest.raises(FormatError, match="does not list the same 3 photos"):
        index_celeba(celeba, ["identities"])
    with pytest.raises(ValueError, match="labels must be among"):
        index_celeba(celeba, ["ages"])
    path = celeba / "Anno/list_attr_celeba.txt"
    path.write_text(path.read_text().replace("-1", " 0"))
    with pytest.raises(FormatError, match="other values than 1 and -1"):
        index_celeba(celeba, ["attributes"])


def test_a_list_without_photos(celeba):
    write(celeba / "Anno/list_landmarks_celeba.txt", "0", COLUMNS)
    with pytest.raises(FormatError, match=r"list_landmarks_celeba\.txt: lists no photos"):
        index_celeba(celeba)


@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
def test_landmarks_must_be_finite(celeba, number):
    write(celeba / "Anno/list_landmarks_celeba.txt", "1", COLUMNS, ROWS[0].replace("165", number))
    with pytest.raises(FormatError, match="line 3 has a number that is not finite"):
        index_celeba(celeba)
