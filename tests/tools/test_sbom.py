from __future__ import annotations

from tools.sbom import component_of, only
from tools.vendored import PACKAGES


def test_a_bill_of_materials_holds_what_the_installation_brings_and_no_more():
    whole = {
        "metadata": {"component": {"bom-ref": "root", "name": "colonywatch"}},
        "components": [
            {"bom-ref": "Six==1", "name": "Six"},
            {"bom-ref": "pytest==8", "name": "pytest"},
        ],
        "dependencies": [
            {"ref": "root", "dependsOn": ["Six==1", "pytest==8"]},
            {"ref": "Six==1"},
            {"ref": "pytest==8", "dependsOn": ["Six==1"]},
        ],
    }
    found = only(whole, {"six"})
    assert [one["name"] for one in found["components"]] == ["Six"]
    assert found["dependencies"] == [
        {"ref": "root", "dependsOn": ["Six==1"]},
        {"ref": "Six==1", "dependsOn": []},
    ]


def test_javascript_in_the_package_is_told_with_its_files():
    found = component_of(PACKAGES[0])
    assert found["purl"] == f"pkg:npm/{PACKAGES[0].name}@{PACKAGES[0].version}"
    assert all(len(one["hashes"][0]["content"]) == 64 for one in found["components"])
