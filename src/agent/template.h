/*
 * template.h: a source of the kind "template": a folder of a git repository that `pulumi new URL` would take. Its files are
 * the program, with the project's name in the places that the template leaves open.
 */
#ifndef SLIPWAY_AGENT_TEMPLATE_H
#define SLIPWAY_AGENT_TEMPLATE_H

#include "base/str.h"

struct template_url {
	const char *repo_url;
	const char *branch, *commit, *dir; /* empty rather than NULL */
};

/*
 * https://HOST/OWNER/REPO[/tree/BRANCH-OR-COMMIT][/FOLDER], also with ssh:// and USER@HOST:…; where REPO is not the second
 * part, it is the one that ends with .git. ERR_BAD_REQUEST: a sentence for the user. The URL of the repository itself is
 * checked by whoever fetches it.
 */
int template_url_parse(const char *url, struct arena *a, struct template_url *ret, struct err *e);

/* In the text files below `folder`: ${PROJECT} and ${DESCRIPTION}, and the `name` of its Pulumi.yaml. Links are not
 * followed. */
int template_fill(const char *folder, const char *project, struct err *e);

#endif
