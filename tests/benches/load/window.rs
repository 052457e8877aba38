//! What is under way: so much and no more, each under a number of its own.

/// Requests that wait for their answers. A number is a place and, in its upper bits, how often that place has been
/// used: the late answer to a request that was given up is not taken for another's.
pub(crate) struct Window<T> {
    places: Vec<(u16, Option<T>)>,
    free: Vec<u16>,
    mask: u16,
}

impl<T> Window<T> {
    /// Room for `size` requests, at most 16,384.
    pub(crate) fn new(size: usize) -> Window<T> {
        assert!(0 < size && size <= 1 << 14, "a window of {size} leaves no bits to tell late answers by");
        let places: Vec<(u16, Option<T>)> = (0..size as u16).map(|place| (place, None)).collect();
        Window {
            free: places.iter().map(|(number, _)| *number).collect(),
            places,
            mask: size.next_power_of_two() as u16 - 1,
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// A number for the next request, which `make` makes with it; `None` where there is no room.
    pub(crate) fn take(&mut self, make: impl FnOnce(u16) -> T) -> Option<u16> {
        let place = self.free.pop()?;
        let (number, request) = &mut self.places[usize::from(place)];
        *number = number.wrapping_add(self.mask.wrapping_add(1));
        *request = Some(make(*number));
        Some(*number)
    }

    /// The request that this number is the answer to; it is no longer under way.
    pub(crate) fn settle(&mut self, number: u16) -> Option<T> {
        let place = number & self.mask;
        let (current, request) = self.places.get_mut(usize::from(place))?;
        if *current != number {
            return None;
        }
        let request = request.take()?;
        self.free.push(place);
        Some(request)
    }

    /// All that is under way.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|(_, request)| request.as_mut())
    }

    /// Gives up all that is under way; returns how much that was.
    pub(crate) fn give_up(&mut self) -> u64 {
        let mut count = 0;
        for (place, (_, request)) in self.places.iter_mut().enumerate() {
            if request.take().is_some() {
                self.free.push(place as u16);
                count += 1;
            }
        }
        count
    }
}

/// The number of a message; 0, which no window gives out at first, where it is too short for one.
pub(crate) fn number_of(message: &[u8]) -> u16 {
    message.first_chunk().map_or(0, |number| u16::from_be_bytes(*number))
}
