from storage.store.file_identity import identity_of
from storage.store.local_files import list_folder, list_tree


def test_files_are_listed_by_their_path_below_the_root(tmp_path):
    for name in ("b.txt", "a.txt", "deeper/c.txt"):
        path = tmp_path / "stage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root = str(tmp_path)
    assert list_folder(root, "stage") == ["stage/a.txt", "stage/b.txt"]
    assert list_folder(root, "nowhere") == list_folder(root, "stage/a.txt") == []
    tree = list_tree(root, "stage")
    assert list(tree) == ["stage/a.txt", "stage/b.txt", "stage/deeper/c.txt"]
    assert tree == {path: identity_of(tmp_path / path) for path in tree}
    assert list_tree(root, "nowhere") == {}
    assert list_tree(root, "") == tree
