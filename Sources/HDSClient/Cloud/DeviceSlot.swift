import Diagnostics

/// The device that this process is for the cloud: one of those of the state folder that no other process uses now.
///
/// A device has one event socket; a second one would replace the first. So each running process takes a slot (a lock that
/// ends with the process) with a device of its own, registered when the slot is used for the first time.
actor DeviceSlot {
    private static let maximum = 64

    private let index: Int
    private let lock: FileLock
    private let store: StateStore
    private let cloud: CloudService
    private let name: String
    private var registration: Task<ClientState.Device, any Error>?

    static func take(store: StateStore, cloud: CloudService, name: String) throws -> DeviceSlot {
        for index in 0..<maximum {
            if let lock = try FileLock.attempt(store.folder + "/device-\(index).lock") {
                return DeviceSlot(index: index, lock: lock, store: store, cloud: cloud, name: name)
            }
        }
        throw DiagnosedError(
            .stateLocked, fault: .client, "too many hds processes run on this state", expected: "at most \(maximum)")
    }

    private init(index: Int, lock: consuming FileLock, store: StateStore, cloud: CloudService, name: String) {
        self.index = index
        self.lock = lock
        self.store = store
        self.cloud = cloud
        self.name = name
    }

    /// Calls that come during a registration wait for it: of two devices one would get what the other asked for.
    ///
    /// - Parameter renewed: the core does not know the device any more.
    func device(renewed: Bool = false) async throws -> ClientState.Device {
        if let registration { return try await registration.value }
        if !renewed, let known = try store.current().devices[index] {
            try cloud.pins.check(coreURL: known.url)
            try cloud.pins.check(coreURL: known.webSocketURL)
            return known
        }
        let task = Task {
            let device = try await cloud.registerDevice(name: name)
            try store.update { $0.devices[index] = device }
            return device
        }
        registration = task
        defer { registration = nil }
        return try await task.value
    }
}
