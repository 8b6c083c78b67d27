// All kernels for the device.
#pragma once

#include "kernels/cuda/adam.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/grouped.h"
#include "kernels/cuda/jitter.h"
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/loss.h"
#include "kernels/cuda/moe_rows.h"
#include "kernels/cuda/muon.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/route_losses.h"
#include "kernels/cuda/route_rows.h"
