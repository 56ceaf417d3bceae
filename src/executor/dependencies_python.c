#include "executor/dependencies.h"

/* The name stands in a shell command. */
static bool is_plain_path(const char *s)
{
	return *s && *s != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == strlen(s);
}

static int plan_pip(const char *dir, const char *venv, const struct project *p, struct arena *a,
		    struct dependency_plan *ret)
{
	const char *what = dependencies_has(dir, "requirements.txt", a) ? "-r requirements.txt"
			   : dependencies_has(dir, "pyproject.toml", a) ? "."
									: NULL;
	if (!what && !p->virtualenv) {
		ret->said = "There is no requirements.txt and no pyproject.toml: nothing to install.";
		return 0;
	}
	ret->said = arena_printf(a, "Python project: installing with pip into %s.", venv);
	ret->tool = "python3";
	ret->commands[0] = arena_printf(a, "python3 -m venv %s", venv);
	if (what)
		ret->commands[1] =
			arena_printf(a, "%s/bin/python -m pip install --disable-pip-version-check %s", venv, what);
	/* Without the option the language host takes the first python3 on PATH: that must be this one. */
	ret->activate = venv;
	return 0;
}

static int plan_uv(const char *dir, const char *venv, const struct project *p, struct arena *a,
		   struct dependency_plan *ret)
{
	bool is_project = dependencies_has(dir, "pyproject.toml", a);
	if (!is_project && !dependencies_has(dir, "requirements.txt", a)) {
		ret->said = "There is no pyproject.toml and no requirements.txt: nothing to install.";
		return 0;
	}
	ret->tool = "uv";
	ret->said = "Python project: installing with uv.";
	if (is_project) {
		ret->commands[0] =
			p->virtualenv ? arena_printf(a, "UV_PROJECT_ENVIRONMENT=%s uv sync", venv) : "uv sync";
	} else {
		ret->commands[0] = arena_printf(a, "uv venv --allow-existing %s", venv);
		ret->commands[1] = arena_printf(a, "uv pip install --python %s -r requirements.txt", venv);
	}
	/* With the option the language host looks for it itself. */
	ret->activate = p->toolchain ? NULL : venv;
	return 0;
}

int dependencies_python(const struct place *at, const struct project *p, struct arena *a, struct dependency_plan *ret,
			struct err *e)
{
	static const char *const known[] = { "pip", "uv", "poetry" };
	const char *dir = at->work_dir;
	bool ok = !p->toolchain;
	for (size_t i = 0; i < ARRAY_SIZE(known) && !ok; i++)
		ok = streq(p->toolchain, known[i]);
	if (!ok)
		return err_set(e, ERR_BAD_REQUEST, "Pulumi.yaml asks for the toolchain '%s'; known are pip, uv, poetry",
			       p->toolchain);
	bool uv = p->toolchain ? streq(p->toolchain, "uv") : dependencies_has(dir, "uv.lock", a);
	bool poetry = !uv && (p->toolchain ? streq(p->toolchain, "poetry") : dependencies_has(dir, "poetry.lock", a));
	const char *venv = p->virtualenv && *p->virtualenv ? p->virtualenv : uv ? ".venv" : "venv";
	if (!is_plain_path(venv))
		return err_set(e, ERR_BAD_REQUEST, "Pulumi.yaml: the virtualenv '%s' is not a plain folder name", venv);
	if (uv)
		return plan_uv(dir, venv, p, a, ret);
	if (!poetry)
		return plan_pip(dir, venv, p, a, ret);
	ret->tool = "poetry";
	ret->said = "Python project: installing with poetry.";
	/* Into the project's folder, so that it is known where the interpreter is. */
	ret->commands[0] = "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --no-root";
	ret->activate = p->toolchain ? NULL : ".venv";
	return 0;
}
