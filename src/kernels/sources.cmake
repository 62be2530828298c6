# Every file is compiled on every platform; those of another one are empty.
set(BNNZOO_KERNEL_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/available.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx2.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx512.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx512_amx.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx512_vnni.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx512_vpopcntdq.cc
    ${CMAKE_CURRENT_LIST_DIR}/neon.cc
    ${CMAKE_CURRENT_LIST_DIR}/popcnt.cc
    ${CMAKE_CURRENT_LIST_DIR}/portable.cc)
