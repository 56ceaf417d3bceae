/* The table of all shapes, made from api/shapes.def. */
#include "server/shape.h"

#include "deploy/deployment.h"
#include "deploy/settings.h"

#define SHAPE(name_, text_) { .name = #name_, .text = (text_) },
#define SHAPE_OF(name_, values_) { .name = #name_, .values = (values_) },
#define SHAPE_BY(name_, write_) { .name = #name_, .write = (write_) },
const struct shape server_shapes[] = {
#include "../api/shapes.def"
	{ .name = NULL }
};
#undef SHAPE
#undef SHAPE_OF
#undef SHAPE_BY
