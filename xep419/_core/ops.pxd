# The vector operations of csrc/ops.h; what each promises is stated there.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "ops.h" nogil:
    enum:
        MASKS "XEP419_MASKS"
        ANY "XEP419_ANY"
        APOS "XEP419_APOS"
        QUOT "XEP419_QUOT"
        SIDES "XEP419_SIDES"
        BEFORE_LT "XEP419_BEFORE_LT"
        BEFORE_GT "XEP419_BEFORE_GT"
        BEFORE_SAME "XEP419_BEFORE_SAME"
        BEFORE_OTHER "XEP419_BEFORE_OTHER"
        AFTER_END "XEP419_AFTER_END"
        SLACK "XEP419_SLACK"
        TEXT_END "XEP419_TEXT_END"
        VALUE_END "XEP419_VALUE_END"
        NAME_END "XEP419_NAME_END"
        NOT_SPACE "XEP419_NOT_SPACE"
        SUSPECT "XEP419_SUSPECT"
        ROWS "XEP419_ROWS"
        ROW "XEP419_ROW"
        PAGE "XEP419_PAGE"
    const size_t NOT_FOUND "XEP419_NOT_FOUND"

    ctypedef struct xep419_ops:
        const char *name
        void (*rotate_once)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        void (*rotate_twice)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        void (*rotate_once_streaming)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        void (*rotate_twice_streaming)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        void (*copy_loosely)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        void (*rotate_twice_loosely)(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
        size_t (*candidates)(const uint8_t *p, size_t n, uint32_t *at, size_t room, size_t *searched) noexcept nogil
        size_t (*last_lt)(const uint8_t *p, size_t floor, size_t end) noexcept nogil
        void (*tag_window)(const uint8_t *p, size_t n, size_t at, uint64_t *masks) noexcept nogil
        void (*quote_sides)(const uint8_t *p, size_t n, size_t at, uint64_t *masks) noexcept nogil
        uint64_t (*classify)(const uint8_t *p, size_t n, uint64_t *masks) noexcept nogil
