import Glibc
import Synchronization

/// What a malicious core does to the strings that it relays: it keeps them all, holds them back, lets them out late or in
/// another order, and sends old ones again. For `hdsctl drill hostile-core` only (docs/drills.md).
///
/// Any thread. Its orders are a word in the file `order` of the drill's folder: `pass`, `hold`, `release`,
/// `release-reversed`, `replay`. What was carried out is a line of `told` there. Unknown words and no file: `pass`.
package final class HostileRelay: Sendable {
    struct Taken: Sendable {
        let text: [UInt8]
        let destination: String
        let device: String
    }

    enum Order: String { case pass, hold, release, releaseReversed = "release-reversed", replay }

    /// The drill's folder holds a file of this name; without it no core becomes hostile.
    package static let mark = "hostile-core-drill"
    /// What is kept at the most, of each kind; the oldest goes first.
    private static let maximumKept = 10_000

    private let folder: String
    private let seen = Mutex<[Taken]>([])
    private let held = Mutex<[Taken]>([])

    /// nil: the folder is not marked as that of a drill.
    package init?(folder: String) {
        guard access(folder + "/" + Self.mark, R_OK) == 0 else { return nil }
        self.folder = folder
    }

    /// What of it goes on to the KMS now.
    /// - Parameter holds: may be held back: what accompanies a change of a space, by the route that it came on.
    func pass(_ texts: [[UInt8]], to destination: String, from device: String, holds: Bool = false) -> [[UInt8]] {
        let taken = texts.map { Taken(text: $0, destination: destination, device: device) }
        seen.withLock { Self.keep(taken, in: &$0) }
        guard holds, order == .hold else { return texts }
        held.withLock { Self.keep(taken, in: &$0) }
        tell("held \(taken.count)")
        return []
    }

    /// What an order lets out now. To be called a few times a second.
    func due() -> [Taken] {
        let order = order
        let due: [Taken]
        switch order {
        case .pass, .hold: return []
        case .release, .releaseReversed:
            due = held.withLock { held in
                defer { held = [] }
                return order == .release ? held : held.reversed()
            }
        case .replay: due = seen.withLock { $0 }
        }
        unlink(folder + "/order")
        tell("\(order.rawValue) \(due.count)")
        return due
    }

    private static func keep(_ taken: [Taken], in list: inout [Taken]) {
        list += taken
        if list.count > maximumKept { list.removeFirst(list.count - maximumKept) }
    }

    private var order: Order {
        guard let file = fopen(folder + "/order", "re") else { return .pass }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 64)
        guard fgets(&line, Int32(line.count), file) != nil else { return .pass }
        let word = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
        return Order(rawValue: String(decoding: word, as: UTF8.self)) ?? .pass
    }

    private func tell(_ text: String) {
        guard let file = fopen(folder + "/told", "ae") else { return }
        defer { fclose(file) }
        fputs(text + "\n", file)
    }
}
