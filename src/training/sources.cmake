# Every file is compiled on every platform; those of another one are empty.
set(BNNZOO_TRAINING_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/avx2.cc
    ${CMAKE_CURRENT_LIST_DIR}/avx512.cc
    ${CMAKE_CURRENT_LIST_DIR}/portable.cc
    ${CMAKE_CURRENT_LIST_DIR}/batch_norm.cc
    ${CMAKE_CURRENT_LIST_DIR}/convolution.cc
    ${CMAKE_CURRENT_LIST_DIR}/elementwise.cc
    ${CMAKE_CURRENT_LIST_DIR}/loss.cc
    ${CMAKE_CURRENT_LIST_DIR}/network.cc
    ${CMAKE_CURRENT_LIST_DIR}/pooling.cc)
