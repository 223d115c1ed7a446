import Glibc

/// One reader of hostile input: what it does with octets, and octets from which a search begins.
///
/// Refusing input is what a reader is for, so every error is swallowed; what counts are traps, hangs, and memory. `demand`
/// adds what a reader promises besides: that what it accepts is written again as it was read.
struct FuzzTarget: Sendable {
    let name: String
    let seeds: [[UInt8]]
    let body: @Sendable ([UInt8]) -> Void

    init(_ name: String, seeds: [[UInt8]], body: @escaping @Sendable ([UInt8]) throws -> Void) {
        self.name = name
        self.seeds = seeds
        self.body = { octets in
            let start = Self.processorTime()
            do { try body(octets) } catch {}
            demand(Self.processorTime() - start < 1, "an input below 64 KiB takes less than 1 s of the processor")
        }
    }

    init(_ name: String, texts: [String], body: @escaping @Sendable ([UInt8]) throws -> Void) {
        self.init(name, seeds: texts.map { Array($0.utf8) }, body: body)
    }

    static let all: [FuzzTarget] =
        joseTargets + protocolTargets + documentTargets

    /// Seconds of this thread: libFuzzer's own limit is by the clock on the wall, and a busy machine would break it.
    private static func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Writes each seed into `FOLDER/NAME/seed-N`.
    func writeSeeds(below folder: String) throws {
        mkdir(folder, 0o755)
        mkdir("\(folder)/\(name)", 0o755)
        for (number, seed) in seeds.enumerated() {
            guard let file = fopen("\(folder)/\(name)/seed-\(number)", "w") else { continue }
            fwrite(seed, 1, seed.count, file)
            fclose(file)
        }
    }
}

/// What libFuzzer's C callback, which can not hold a value, runs. One thread only.
enum RunningTarget {
    nonisolated(unsafe) static var body: @Sendable ([UInt8]) -> Void = { _ in }
}

/// A promise of the reader that is not kept ends the run as a crash does.
func demand(_ holds: Bool, _ promise: String) {
    precondition(holds, promise)
}

func text(_ octets: [UInt8]) -> String { String(decoding: octets, as: UTF8.self) }
