/// A queue of ids in rising order: taken at the front, appended at the back, put back at their own place.
///
/// Taking the first and putting one back near the front cost O(1) amortised; an insertion elsewhere moves what follows.
struct OrderedIDs: Sendable, Equatable {
    private var storage: [UInt64] = []
    private var head = 0

    var isEmpty: Bool { head == storage.count }
    var count: Int { storage.count - head }
    var first: UInt64? { isEmpty ? nil : storage[head] }
    subscript(position: Int) -> UInt64 { storage[head + position] }

    mutating func insert(_ id: UInt64) {
        guard let last = storage.last, !isEmpty, last >= id else {
            storage.append(id)
            return
        }
        var low = head
        var high = storage.count
        while low < high {
            let middle = (low + high) / 2
            if storage[middle] < id { low = middle + 1 } else { high = middle }
        }
        guard storage[low] != id else { return }
        if low == head, head > 0 {
            head -= 1
            storage[head] = id
        } else {
            storage.insert(id, at: low)
        }
    }

    mutating func removeFirst() {
        guard !isEmpty else { return }
        head += 1
        if head > 64, head * 2 > storage.count {
            storage.removeFirst(head)
            head = 0
        }
    }

    mutating func remove(at position: Int) {
        if position == 0 { removeFirst() } else { storage.remove(at: head + position) }
    }
}
