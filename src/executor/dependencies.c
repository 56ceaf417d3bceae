#include "executor/dependencies.h"

#include <dirent.h>
#include <sys/stat.h>

#include "os/file.h"

bool dependencies_has(const char *folder, const char *name, struct arena *a)
{
	struct stat st;
	const char *path = arena_printf(a, "%s/%s", folder, name);
	return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

const char *dependencies_parent(const struct place *at, const char *dir, struct arena *a)
{
	size_t top = strlen(at->tree);
	const char *slash = strrchr(dir, '/');
	if (strncmp(dir, at->tree, top) != 0 || dir[top] != '/' || !slash || (size_t)(slash - dir) < top)
		return NULL;
	return arena_strndup(a, dir, (size_t)(slash - dir));
}

/* Any file whose name ends so ("….csproj"). */
static bool has_ending(const char *folder, const char *ending)
{
	bool found = false;
	DIR *d = opendir(folder);
	for (struct dirent *n; d && !found && (n = readdir(d)) != NULL;)
		found = str_ends_with(str_of(n->d_name), ending);
	if (d)
		closedir(d);
	return found;
}

static void plan_go(const struct place *at, struct arena *a, struct dependency_plan *ret)
{
	const char *dir = at->work_dir;
	while (dir && !dependencies_has(dir, "go.mod", a))
		dir = dependencies_parent(at, dir, a);
	if (!dir) {
		ret->said = "There is no go.mod: nothing to install.";
		return;
	}
	ret->said = "Go project: downloading its modules.";
	ret->tool = "go";
	ret->commands[0] = "go mod download";
}

static void plan_dotnet(const struct place *at, struct dependency_plan *ret)
{
	if (!has_ending(at->work_dir, "proj") && !has_ending(at->work_dir, ".sln")) {
		ret->said = "There is no project file of .NET: nothing to install.";
		return;
	}
	ret->said = ".NET project: restoring its packages.";
	ret->tool = "dotnet";
	ret->commands[0] = "dotnet restore";
}

/* What the language host runs as well, so that its own run finds everything there. A wrapper script of the project comes
 * before a program of the machine. */
static void plan_java(const struct place *at, struct arena *a, struct dependency_plan *ret)
{
	const char *dir = at->work_dir;
	bool maven = dependencies_has(dir, "pom.xml", a);
	bool gradle = dependencies_has(dir, "build.gradle", a) || dependencies_has(dir, "build.gradle.kts", a) ||
		      dependencies_has(dir, "settings.gradle", a) || dependencies_has(dir, "settings.gradle.kts", a);
	if (!maven && !gradle) {
		ret->said = "There is no pom.xml and no build.gradle: nothing to install.";
		return;
	}
	const char *name = maven ? "mvn" : "gradle", *script = maven ? "mvnw" : "gradlew";
	bool own = dependencies_has(dir, script, a);
	ret->said = arena_printf(a, "Java project: installing with %s.", own ? script : maven ? "Maven" : "Gradle");
	ret->tool = own ? "java" : name;
	ret->commands[0] =
		arena_printf(a, "%s%s %s", own ? "sh ./" : "", own ? script : name,
			     maven ? "--batch-mode --no-transfer-progress compile" : "--console=plain classes");
}

int dependencies_plan(const char *tree, const char *work_dir, const struct project *project, struct arena *a,
		      struct dependency_plan *ret, struct err *e)
{
	const struct place at = { tree, work_dir };
	struct dependency_plan plan = { .dir = work_dir };
	const char *runtime = project->runtime;
	int r = 0;
	if (!project->found)
		plan.said = "There is no Pulumi.yaml in this folder: nothing to install.";
	else if (!runtime || !*runtime)
		plan.said = "Pulumi.yaml names no runtime: nothing to install.";
	else if (streq(runtime, "nodejs") || streq(runtime, "bun"))
		r = dependencies_node(&at, project, a, &plan, e);
	else if (streq(runtime, "python"))
		r = dependencies_python(&at, project, a, &plan, e);
	else if (streq(runtime, "yaml"))
		plan.said = "A YAML program has nothing to install.";
	else if (project->binary && *project->binary)
		plan.said = "Pulumi.yaml names a built program: nothing to install.";
	else if (streq(runtime, "go"))
		plan_go(&at, a, &plan);
	else if (streq(runtime, "dotnet"))
		plan_dotnet(&at, &plan);
	else if (streq(runtime, "java"))
		plan_java(&at, a, &plan);
	else
		plan.said = arena_printf(
			a,
			"Runtime %.100s: nothing is installed ahead, its own tool does so when the program is built.",
			runtime);
	if (r < 0)
		return r;
	if (arena_failed(a))
		return err_nomem(e);
	*ret = plan;
	return 0;
}
