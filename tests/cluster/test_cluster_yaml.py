"""`cluster.yaml` against the Ray that is installed: its schema, its own validation, and what our code needs of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from actors.names import region_resource
from actors.settings import ActorsSettings
from proxy_edge.settings import EdgeSettings
from scripts.cli import parser

FILE = Path(__file__).resolve().parents[2] / "cluster.yaml"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The file as Ray reads it."""
    found = yaml.safe_load(FILE.read_text())
    assert isinstance(found, dict)
    return found


def test_it_fits_the_schema_of_the_installed_wheel(cluster) -> None:
    """`ray-schema.json`, by itself."""
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**cluster, "surprise": 1}, schema)


def test_rays_own_launcher_takes_it(cluster) -> None:
    """With Ray's defaults filled in, as `ray up` does before it asks the cloud for anything."""
    from ray.autoscaler._private import util

    whole = util.prepare_config(cluster)
    util.validate_config(whole)
    assert sorted(whole["available_node_types"]) == ["edge", "head"]
    assert whole["available_node_types"]["edge"]["max_workers"] == whole["max_workers"] == 1


def test_only_the_head_has_the_region(cluster) -> None:
    """Because the stores of the region's actors are on its disk."""
    region = cluster["provider"]["region"]
    resources = {name: one["resources"] for name, one in cluster["available_node_types"].items()}
    assert resources == {"head": {region_resource(region): 1}, "edge": {}}
    assert cluster["head_node_type"] == "head"


def test_no_key_is_copied_to_every_node(cluster) -> None:
    """`file_mounts` reach edges, too; and no machine may read another's credentials from the metadata service."""
    assert list(cluster["file_mounts"].values()) == ["./dist"]
    for one in cluster["available_node_types"].values():
        assert one["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert all(disk["Ebs"]["Encrypted"] for disk in one["node_config"]["BlockDeviceMappings"])
    assert "IamInstanceProfile" not in cluster["available_node_types"]["edge"]["node_config"]


def test_units_run_commands_and_settings_that_there_are(cluster) -> None:
    """The command line takes the options, the settings their variables, and Ray asks for its token."""
    commands = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    ours = [line.split("/bin/exeat ")[1].split() for line in commands if "/bin/exeat " in line]
    assert [parser().parse_args(one).region for one in ours] == [cluster["provider"]["region"]] * 2
    told = set(re.findall(r"EXEAT_[A-Z_]+", " ".join(commands)))
    known = {f"EXEAT_{name.upper()}" for name in {**ActorsSettings.model_fields, **EdgeSettings.model_fields}}
    assert told <= known
    rays = [line for line in commands if "/bin/ray start" in line]
    assert len(rays) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in rays)
