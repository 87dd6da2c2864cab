"""The rules of docs/architecture.md that a machine can hold."""

import ast
import builtins
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from imgmig_dagster_tests.images import IMAGE

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "imgmig_dagster"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
TESTS = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "imgmig_dagster_tests").rglob("*.py"))

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_LINES = 300
MAX_LINES_OF_TESTS = 400
# What each part may import of the others, from the bottom up. `errors`, `window` and the like are for all.
PARTS = (
    "mapping",
    "rules",
    "aws",
    "source",
    "target",
    "state",
    "stage",
    "capacity",
    "walk",
    "verification",
    "steps",
    "reporting",
    "doctor",
    "drafting",
    "sandbox",
    "self_test",
    "local_runs",
    "defs",
    "cli",
)
ALLOWED = {
    "mapping": set(),
    "rules": {"mapping"},
    "aws": set(),
    "source": {"mapping"},
    "target": {"mapping", "aws"},
    "state": {"mapping", "rules", "aws"},
    "stage": {"mapping", "aws", "source", "target", "state"},
    "capacity": {"mapping", "stage"},
    "walk": {"mapping", "source", "state", "stage"},
    "verification": {"mapping", "rules", "aws", "source", "target", "state", "stage"},
    "steps": {"mapping", "rules", "capacity", "source", "target", "state", "stage", "walk", "verification"},
    "reporting": {"mapping", "rules", "aws", "source", "target", "state", "stage", "steps", "verification"},
    "doctor": {"mapping", "aws", "source", "target", "state", "stage"},
    "drafting": {"mapping", "aws", "source", "doctor"},
    "sandbox": {"mapping", "aws", "stage"},
    # It works in the sandbox only, and on what the product does there.
    "self_test": {"mapping", "source", "target", "state", "stage", "steps", "verification", "sandbox"},
    # It runs whatever definitions it is given.
    "local_runs": {"stage"},
    "defs": set(PARTS) - {"cli", "self_test"},
    "cli": set(PARTS),
}


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), module)


def imports(module: str) -> Iterator[str]:
    """Every imported name with its module, those inside functions too."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def texts(module: str) -> Iterator[str]:
    """Every string of the code, docstrings left out."""
    parsed = tree(module)
    documentation = {
        id(node.value)
        for parent in ast.walk(parsed)
        if hasattr(parent, "body") and isinstance(parent.body, list)
        for node in parent.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(parsed):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def names(module: str) -> set[str]:
    """Every identifier and attribute of the code."""
    return {
        found
        for node in ast.walk(tree(module))
        for found in (
            getattr(node, "id", None) if isinstance(node, ast.Name) else None,
            getattr(node, "attr", None) if isinstance(node, ast.Attribute) else None,
            getattr(node, "arg", None) if isinstance(node, (ast.arg, ast.keyword)) else None,
        )
        if found
    }


def used_parts(module: str) -> set[str]:
    """The parts of the package that a module imports."""
    return {name.split(".")[1] for name in imports(module) if name.startswith("imgmig_dagster.")} & set(PARTS)


def offenders(modules: Iterable[str], fault: Callable[[str], object]) -> dict[str, object]:
    """What is wrong with each module where anything is."""
    return {module: found for module in modules if (found := fault(module))}


def outside(*places: str) -> list[str]:
    return [module for module in MODULES if not module.startswith(places)]


def test_there_are_modules_to_look_at() -> None:
    assert {"mapping/spec.py", "stage/config.py", "target/writer.py", "steps/migrate.py"} <= set(MODULES)
    assert {module.split("/")[0] for module in MODULES if "/" in module} == set(PARTS), "a part without a rule"


def test_dependencies_point_down() -> None:
    def fault(module: str) -> object:
        part = module.split("/")[0]
        return used_parts(module) - ALLOWED[part] - {part}

    assert offenders([module for module in MODULES if "/" in module], fault) == {}


def test_what_all_parts_share_depends_on_none_of_them() -> None:
    # Dagster begins at these, as the command line does at cli/: they are shared by nobody.
    begins = ("definitions.py", "__init__.py")
    shared = [module for module in MODULES if "/" not in module and module not in begins]

    assert offenders(shared, used_parts) == {}


def test_reading_settings_reaches_nothing() -> None:
    """Of a stage, only the guard and the work use what reaches the source, the target or the state."""
    settings = [module for module in MODULES if module.startswith("stage/")]
    reaching = {"source", "state", "target"}

    assert set(offenders(settings, lambda module: used_parts(module) & reaching)) == {
        "stage/services.py",
        "stage/work.py",
        "stage/write_guard.py",
    }


def test_what_verifies_shares_no_code_with_what_writes() -> None:
    """A verifier that reuses the writer's code cannot see the writer's faults."""
    looking = ("second_look", "examined", "without_row", "spot_check", "rows_left")
    verifying = {f"steps/{name}.py" for name in ("verify", "drift", "follow", "certify", *looking)}
    verifying |= {module for module in MODULES if module.startswith("steps/census")}
    writing = {module for module in MODULES if module.startswith("steps/")} - verifying - {"steps/__init__.py"}
    writers = {f"imgmig_dagster.{module[:-3].replace('/', '.')}" for module in writing}
    writers |= {f"imgmig_dagster.{name}" for name in ("mapping.transform", "rules.existing_item", "target.writer")}

    def fault(module: str) -> object:
        return {name.rpartition(".")[0] for name in imports(module)} & writers

    assert fault("steps/migrate.py"), "nothing to hold"
    judging = [module for module in MODULES if module in verifying or module.startswith("verification/")]
    assert offenders(judging, fault) == {}


def test_only_definitions_and_what_runs_them_import_dagster() -> None:
    modules = outside("defs/", "local_runs/", "definitions.py")

    assert offenders(modules, lambda module: {root for root in roots(module) if root.startswith("dagster")}) == {}


def test_what_dagster_does_not_promise_is_used_in_these_modules() -> None:
    internals = tuple(
        f"local_runs/{name}.py" for name in ("dagster_internals", "dagster_events", "partition_events", "event_tables")
    )
    # Methods and properties that are not marked as public, of classes that are.
    not_promised = {
        *("add_event_listener", "asset_check_evaluation_data", "code_location_origin", "create_run_for_job"),
        *("event_log_storage", "from_ref", "get_concurrency_config", "get_records_for_run", "get_ref"),
        *("is_step_failure", "optimize_for_webserver", "remote_job_origin", "report_run_canceling"),
        *("report_run_failed", "resolve_job_def", "run_monitoring_enabled", "run_storage", "run_tags"),
        *("step_failure_data", "supports_check_run_worker_health"),
    }
    assert not_promised <= {name for module in internals for name in names(module)}, "what is used no longer"

    def fault(module: str) -> object:
        private = {name for name in imports(module) if name.startswith(("dagster._", "dagster_shared"))}
        return private | not_promised & names(module)

    assert offenders(outside(*internals), fault) == {}


def test_what_botocore_does_not_promise_is_used_in_one_module() -> None:
    promised = {f"botocore.{module}" for module in ("config", "credentials", "exceptions", "session")}

    def fault(module: str) -> object:
        used = {name for name in imports(module) if name.startswith("botocore.")}
        private = {name for name in used if ".".join(name.split(".")[:2]) not in promised}
        return private | {"_endpoint", "_proxy_config"} & names(module)

    assert fault("aws/botocore_internals.py"), "nothing to hold"
    assert offenders(outside("aws/botocore_internals.py"), fault) == {}


def test_mapping_rules_and_capacity_are_pure() -> None:
    pure = {*sys.stdlib_module_names, "imgmig_dagster"} - {
        "os",
        "socket",
        "subprocess",
        "http",
        "asyncio",
        "random",
        "time",
    }
    declarations = [module for module in MODULES if module.startswith("mapping/declaration/")]
    modules = [
        module
        for module in MODULES
        if module.startswith(("mapping/", "rules/", "capacity/")) and module not in declarations
    ]

    assert offenders(modules, lambda module: roots(module) - pure) == {}
    assert offenders(declarations, lambda module: roots(module) - pure - {"pydantic", "pydantic_core", "yaml"}) == {}


def test_matplotlib_is_the_reports_alone() -> None:
    assert offenders(outside("reporting/"), lambda module: roots(module) & {"matplotlib", "numpy"}) == {}


def test_only_the_write_guard_makes_a_target_that_may_be_written_to() -> None:
    """Whoever has none cannot make a table that writes, nor a sender that lets writes out."""

    def fault(module: str) -> object:
        calls = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
        made = {ast.unparse(call.func).split(".")[-1] for call in calls} & {"WritableTarget", "WritableTable"}
        let_out = any(keyword.arg == "may_write" for call in calls for keyword in call.keywords)
        return made | ({"may_write"} if let_out else set())

    assert offenders(outside("stage/write_guard.py", "target/open_target.py"), fault) == {}
    assert fault("stage/write_guard.py") == {"WritableTarget"}


def test_only_config_reads_the_environment() -> None:
    readers = {"environ", "environb", "getenv", "dotenv_values"}

    def fault(module: str) -> object:
        return readers & (names(module) | {name.rpartition(".")[2] for name in imports(module)})

    assert offenders(outside("stage/config.py"), fault) == {}


def test_only_the_mapping_knows_a_columns_name() -> None:
    # created_at and updated_at are ordinary words of code, width and height of pictures: the former count as texts.
    words = {"width", "height"}
    known = {word for field in IMAGE.fields for word in (field.column, field.attribute)} - words

    def fault(module: str) -> object:
        return known & set(texts(module)) | (known - {"created_at", "updated_at"}) & names(module)

    # The sandbox makes the source's rows and their pictures, and stands in for the application that writes them.
    makers = ("sandbox/seed.py", "sandbox/sample_pictures.py", "sandbox/image_records.py")
    assert offenders(outside("mapping/", *makers), fault) == {}


def test_whatever_opens_the_target_obeys_the_throttle() -> None:
    def opens(module: str) -> object:
        calls = [ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
        return {call for call in calls if call.endswith("target.open")} | ({"obeying_throttle"} & set(calls))

    assert offenders(MODULES, opens) == {"stage/work.py": {"target.open", "obeying_throttle"}}


def test_every_state_file_is_named_in_one_module() -> None:
    like_a_state_file = re.compile(r"/?([a-z-]+/)*[a-z-]+\.(jsonl?|lock|log)")
    known = {text.rpartition("/")[2] for text in texts("state/names.py")} - {""}

    def fault(module: str) -> object:
        return [
            text
            for text in texts(module)
            if like_a_state_file.fullmatch(text) or (("/" in text or "." in text) and text.rpartition("/")[2] in known)
        ]

    assert {"run.lock", "passes", "throttle.json", "migration-progress.json", "summary.html"} <= known
    # The sandbox's files are its own; the rehearsal saves a page's review as a person would.
    assert offenders(outside("state/names.py", "sandbox/", "cli/rehearsal.py"), fault) == {}


def test_no_file_is_too_long() -> None:
    def fault(path: str) -> object:
        lines = len((REPOSITORY / path).read_text(encoding="utf-8").splitlines())
        return lines if lines > (MAX_LINES_OF_TESTS if path in TESTS else MAX_LINES) else None

    benchmarks = [f"benchmarks/{path.name}" for path in (REPOSITORY / "benchmarks").glob("*.py")]
    assert offenders([*(f"imgmig_dagster/{module}" for module in MODULES), *benchmarks, *TESTS], fault) == {}


def test_names_say_what_things_are() -> None:
    vague = ("Manager", "Helper", "Helpers", "Util", "Utils")

    def fault(module: str) -> object:
        classes = [node.name for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef)]
        files = {"utils", "helpers", "common", "misc"} & set(Path(module).with_suffix("").parts)
        return [name for name in classes if name.endswith(vague)] or files

    assert offenders(MODULES, fault) == {}


def test_no_test_of_a_unit_sleeps_for_real() -> None:
    def fault(path: str) -> object:
        parsed = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        calls = [ast.unparse(node.func) for node in ast.walk(parsed) if isinstance(node, ast.Call)]
        return "time.sleep" in calls

    assert offenders([path for path in TESTS if "/unit/" in path], fault) == {}


def test_importing_any_module_does_no_io_and_needs_no_variable(tmp_path: Path) -> None:
    modules = [
        "imgmig_dagster." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for module in MODULES
        if not module.endswith("__main__.py") and module != "__init__.py"
    ]

    finished = subprocess.run(
        [sys.executable, "-B", "-m", "imgmig_dagster_tests.import_audit", *modules],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert finished.returncode == 0, finished.stderr[-2_000:]
    assert not (tmp_path / ".imgmig").exists()


def test_annotations_are_quoted_only_where_a_name_is_not_defined_yet() -> None:
    paths = [
        path
        for part in ("imgmig_dagster", "imgmig_dagster_tests", "benchmarks")
        for path in Path(REPOSITORY, part).rglob("*.py")
    ]

    assert {str(path): found for path in paths if (found := list(quoted_in_vain(ast.parse(path.read_text()))))} == {}


def quoted_in_vain(module: ast.Module) -> Iterator[str]:
    """The quoted annotations whose names the statements above define. A method hides a builtin of its name."""
    defined = set(dir(builtins))
    for statement in module.body:
        methods = {node.name for node in getattr(statement, "body", ()) if isinstance(node, FUNCTIONS)}
        hidden = methods if isinstance(statement, ast.ClassDef) else set()
        for quoted in quoted_annotations(statement):
            used = {node.id for node in ast.walk(ast.parse(quoted)) if isinstance(node, ast.Name)}
            if used <= defined - hidden:
                yield quoted
        defined |= defined_by(statement)


def quoted_annotations(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            # Literal's and Annotated's strings are no names.
            if annotation is not None and not re.search(r"Literal|Annotated", ast.unparse(annotation)):
                yield from (
                    each.value
                    for each in ast.walk(annotation)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                )


def defined_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.ClassDef, *FUNCTIONS)):
        return {statement.name}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}
