// Helper threads that sleep between calls.

#pragma once

#include <unistd.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace prosebench {

// Runs a task on the caller's thread and on helpers. The task must share out its own work: a helper that wakes late
// finds none left and is not waited for, so a busy machine costs no more than the help it withholds.
class Pool {
   public:
    explicit Pool(int helpers) : owner_(getpid()) {
        for (int worker = 1; worker <= helpers; worker++) {
            try {
                threads_.emplace_back([this, worker] { serve(worker); });
            } catch (const std::exception&) {
                break;  // no more threads to be had: the caller does their share
            }
        }
    }

    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    // Threads do not follow a process through fork: there, the pool has no helpers and must not be destroyed.
    bool is_forked() const { return getpid() != owner_; }

    // Calls task(0) here and task(1), task(2).. on up to `helpers` others; returns when all that began have ended.
    void run(int helpers, const std::function<void(int)>& task) {
        if (helpers <= 0 || threads_.empty() || is_forked()) return task(0);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            task_ = &task;
            call_++;
        }
        for (int k = 0; k < helpers; k++) wake_.notify_one();
        task(0);
        std::unique_lock<std::mutex> lock(mutex_);
        task_ = nullptr;
        done_.wait(lock, [this] { return active_ == 0; });
    }

   private:
    void serve(int worker) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (long seen = 0;;) {
            wake_.wait(lock, [&] { return stop_ || call_ != seen; });
            if (stop_) return;
            seen = call_;
            if (!task_) continue;
            const std::function<void(int)>& task = *task_;
            active_++;
            lock.unlock();
            task(worker);
            lock.lock();
            if (--active_ == 0) done_.notify_one();
        }
    }

    const pid_t owner_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int)>* task_ = nullptr;
    long call_ = 0;
    int active_ = 0;
    bool stop_ = false;
};

}  // namespace prosebench
