"""Compiled form of `index.kmeans.kmeans` for the words of one list."""

import numpy as np

from index.compiled import inline, part
from index.kernels.vectors import copy, dot


@inline
def _nearest(sample, centroids, half, nearest, last, counts):
    """Finds the nearest centroid of each word, the last word of each, and how many there are."""
    for p in range(len(centroids)):
        half[p] = dot(centroids[p], centroids[p]) / -2
        last[p], counts[p] = 0, 0
    for i in range(len(sample)):
        best, home = half.dtype.type(-np.inf), 0
        for p in range(len(centroids)):
            score = dot(centroids[p], sample[i]) + half[p]
            if score > best:
                best, home = score, p
        nearest[i], last[home] = home, i
        counts[home] += 1


@inline
def _move_to_means(sample, centroids, nearest, last, counts):
    """Moves centroids to the means; from the last word on, as of equal words that is their mean."""
    for p in range(len(centroids)):
        if counts[p] > 0:
            copy(sample[last[p]], centroids[p])
    for i in range(len(sample)):
        begin, mean = sample[last[nearest[i]]], centroids[nearest[i]]
        for w in range(len(mean)):
            mean[w] += (sample[i, w] - begin[w]) / counts[nearest[i]]


@inline
def _move_into_large(sample, centroids, last, counts):
    """Moves centroids of small clusters to the word of a large one, which is halved thereby."""
    parts = len(centroids)
    mean, used = 0.0, np.empty(parts, np.bool_)
    for p in range(parts):
        mean += counts[p] / parts
        used[p] = False
    for _ in range(parts // 4):
        small, large = -1, -1
        for p in range(parts):
            if not used[p]:
                small = p if small < 0 or counts[p] < counts[small] else small
                large = p if large < 0 or counts[p] >= counts[large] else large
        used[small] = used[large] = True
        if counts[small] < mean / 2 and counts[large] > mean * 1.5:
            copy(sample[last[large]], centroids[small])


@inline
def _count_equal_as_one(centroids, counts):
    """The first of several equal centroids gets the words of all of them."""
    for p in range(len(centroids)):
        for other in range(p):
            same = counts[other] > 0
            for w in range(centroids.shape[1]):
                same &= centroids[p, w] == centroids[other, w]
            if same:
                counts[other], counts[p] = counts[other] + counts[p], 0


@part
def kmeans_of_list(sample, centroids, counts, iterations):
    """Centroids of the words of a list, which begin with its first words.

    Args:
        sample: [S, W], at least as many as there are centroids.
        centroids: go here, [n, W].
        counts: how many words are nearest to each go here, int64 [n]; see `kmeans`.
        iterations: at least 1.

    Cost: O(iterations S n W).
    """
    parts = len(centroids)
    half = np.empty(parts, sample.dtype)
    nearest, last = np.empty(len(sample), np.int64), np.empty(parts, np.int64)
    for p in range(parts):
        copy(sample[p], centroids[p])
    for iteration in range(iterations):
        _nearest(sample, centroids, half, nearest, last, counts)
        _move_to_means(sample, centroids, nearest, last, counts)
        if iteration < iterations - 1:
            _move_into_large(sample, centroids, last, counts)
    _count_equal_as_one(centroids, counts)
